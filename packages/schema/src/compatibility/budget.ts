import { SluiceError } from "@sluice/core";

/** Longest schema text, in UTF-16 units. */
const maxLength = 100_000;
/** Deepest nesting of a schema, and of a comparison. */
const maxDepth = 200;
/** Comparisons and visits of one check: some tens of milliseconds. */
const maxSteps = 15_000;

/** Ends a comparison that would take too long: schemas may come from others, and a few lines of them can take for ever. */
export class Budget {
  #steps: number = maxSteps;
  #depth: number = 0;

  /** Counts work. Throws `TOO_LARGE`. */
  spend(steps: number = 1): void {
    this.#steps -= steps;
    if (this.#steps < 0) throw tooLarge(`takes more than ${maxSteps} steps to compare`);
  }

  /** Runs one level deeper. Throws `TOO_LARGE`. */
  nested<Value>(run: () => Value): Value {
    this.spend();
    this.#depth += 1;
    if (this.#depth > maxDepth) throw tooLarge(`nests deeper than ${maxDepth} levels`);
    try {
      return run();
    } finally {
      this.#depth -= 1;
    }
  }
}

function tooLarge(what: string): SluiceError {
  return new SluiceError("TOO_LARGE", `compatibility: the schema ${what}; split it into smaller ones`);
}

/** Refuses a text that is too long before anything parses it. Throws `TOO_LARGE`. */
export function checkLength(text: string): void {
  if (text.length > maxLength) throw tooLarge(`is longer than ${maxLength} characters`);
}

/** JSON whose nesting is bounded. Throws `CONFIG` for what is not JSON, `TOO_LARGE` for what is too deep or too long. */
export function parseJson(text: string, owner: string): unknown {
  checkLength(text);
  let value: unknown;
  try {
    // n.b. a byte order mark, which editors write, is no JSON.
    value = JSON.parse(text.replace(/^\uFEFF/, ""));
  } catch (cause) {
    throw new SluiceError("CONFIG", `compatibility: ${owner} is not JSON (${(cause as Error).message}); correct it`, {
      cause,
    });
  }
  let level: unknown[] = [value];
  for (let depth = 0; level.length > 0; depth += 1) {
    if (depth > maxDepth) throw tooLarge(`nests deeper than ${maxDepth} levels`);
    const next: unknown[] = [];
    for (const each of level) {
      if (typeof each === "object" && each !== null) for (const child of Object.values(each)) next.push(child);
    }
    level = next;
  }
  return value;
}

/** A plain object of JSON. */
export type JsonObject = Readonly<Record<string, unknown>>;

export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A member of an object of its own: never `__proto__` or what an object inherits. */
export function own(object: JsonObject, name: string): unknown {
  return Object.hasOwn(object, name) ? object[name] : undefined;
}

/** The text of a value inside of a sentence, short. */
export function show(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 60 ? `${text.slice(0, 57)}…` : text;
}
