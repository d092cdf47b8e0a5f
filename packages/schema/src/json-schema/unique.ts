/** Whether no two items are equal as JSON Schema means it: by value, whatever the order of properties. In linear time. */
export function areUnique(items: readonly unknown[]): boolean {
  const seen = new Set<unknown>();
  for (const item of items) {
    // Objects get a prefix that no string of the array can have: those are kept with their quotes.
    seen.add(typeof item === "number" || typeof item === "boolean" ? item : textOf(item));
  }
  return seen.size === items.length;
}

function textOf(value: unknown): string {
  if (typeof value !== "object" || value === null) return JSON.stringify(value) ?? "";
  if (Array.isArray(value)) return `[${value.map(textOf).join(",")}]`;
  const entries = Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1));
  return `{${entries.map(([name, each]) => `${JSON.stringify(name)}:${textOf(each)}`).join(",")}}`;
}
