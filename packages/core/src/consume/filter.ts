import { type Filter, type Headers, type Runtime, wire } from "../driver/index.ts";

/** Why a message is accepted without a run; `undefined` when it is wanted. */
export function unwanted(
  headers: Headers,
  filter: Filter | undefined,
  runtime: Runtime,
): "filtered" | "expired" | undefined {
  if (filter && !matches(filter, headers)) return "filtered";
  const expiresAt = headers[wire.expiresAt];
  return expiresAt !== undefined && Number(expiresAt) <= runtime.wallMs() ? "expired" : undefined;
}

/** Whether every header that the filter names has one of its values, or begins with its prefix. */
function matches(filter: Filter, headers: Headers): boolean {
  for (const [name, wanted] of Object.entries(filter)) {
    const value = headers[name];
    if (value === undefined) return false;
    if (typeof wanted === "string") {
      if (value !== wanted) return false;
    } else if ("prefix" in wanted) {
      if (!value.startsWith(wanted.prefix)) return false;
    } else if (!wanted.includes(value)) return false;
  }
  return true;
}
