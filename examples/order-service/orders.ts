// Orders as NDJSON: one JSON value per line.
import { createReadStream } from "node:fs";
import { createInterface } from "node:readline";

export interface ReadOptions {
  /** A file, or `-` for standard input. */
  readonly input: string;
  /** Read so many lines, from the beginning again when the file ends. `undefined`: once to the end. */
  readonly messages: number | undefined;
  readonly signal: AbortSignal;
}

/** One line: a value, or why there is none. */
export type Line = { readonly value: unknown } | { readonly problem: string };

/** @throws the system's error when the file cannot be read */
export async function* readOrders({ input, messages, signal }: ReadOptions): AsyncGenerator<Line> {
  let left = messages ?? Number.POSITIVE_INFINITY;
  for (let pass = 1; ; pass++) {
    const before = left;
    for await (const text of lines(input, signal)) {
      if (left-- === 0) return;
      yield parse(text, pass);
    }
    const atEnd = messages === undefined || input === "-" || left === before || signal.aborted;
    if (atEnd) return;
  }
}

async function* lines(input: string, signal: AbortSignal): AsyncGenerator<string> {
  const stream = input === "-" ? process.stdin : createReadStream(input);
  // n.b. an interface made before the file is found to be missing would swallow the error.
  const failed = new Promise<never>((_, reject) => stream.once("error", reject));
  failed.catch(() => undefined);
  const reader = createInterface({ input: stream, crlfDelay: Infinity, signal });
  const iterator = reader[Symbol.asyncIterator]();
  try {
    for (;;) {
      const next = await Promise.race([iterator.next(), failed]);
      if (next.done) return;
      if (next.value.trim() !== "") yield next.value;
    }
  } finally {
    reader.close();
    stream.destroy();
  }
}

function parse(text: string, pass: number): Line {
  try {
    const value: unknown = JSON.parse(text);
    return { value: pass === 1 ? value : again(value, pass) };
  } catch {
    return { problem: "the line is not JSON" };
  }
}

/** The same order, by another customer. */
function again(value: unknown, pass: number): unknown {
  if (typeof value !== "object" || value === null) return value;
  const copy: Record<string, unknown> = { ...value };
  for (const name of ["orderId", "customerId"]) {
    if (typeof copy[name] === "string") copy[name] = `${copy[name]}.${pass}`;
  }
  return copy;
}
