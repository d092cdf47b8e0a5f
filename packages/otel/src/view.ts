/** Something native, of which nothing is known. */
export type View = Readonly<Record<string, unknown>>;

const nothing: View = {};

export function viewOf(value: unknown): View {
  return typeof value === "object" && value !== null ? (value as View) : nothing;
}
