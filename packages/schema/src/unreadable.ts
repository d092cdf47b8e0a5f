/** What could not be read, and where in the value. */
export class Unreadable extends Error {
  override readonly name: string = "Unreadable";
  /** Outermost first. */
  readonly path: (string | number)[] = [];
}

/** Adds where it happened to whatever was thrown. */
export function within(error: unknown, part: string | number): Unreadable {
  const found = error instanceof Unreadable ? error : unreadable(error);
  found.path.unshift(part);
  return found;
}

/** Dotted. */
export function pathOf(error: unknown): string {
  return error instanceof Unreadable ? error.path.join(".") : "";
}

function unreadable(error: unknown): Unreadable {
  return new Unreadable(error instanceof Error ? error.message : String(error), { cause: error });
}
