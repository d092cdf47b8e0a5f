import type { Filter, Headers } from "../driver/index.ts";

/** Whether every header that the filter names has one of its values, or begins with its prefix. */
export function matches(filter: Filter, headers: Headers): boolean {
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
