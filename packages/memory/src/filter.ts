import type { Filter, Headers } from "@sluice/core/driver";

/** Whether a record passes: every named header has one of its values, or its prefix. */
export function matches(filter: Filter | undefined, headers: Headers): boolean {
  if (filter === undefined) return true;
  return Object.entries(filter).every(([name, wanted]) => {
    const value = headers[name];
    if (value === undefined) return false;
    if (typeof wanted === "string") return value === wanted;
    return "prefix" in wanted ? value.startsWith(wanted.prefix) : wanted.includes(value);
  });
}
