/** Shapes of what the server answers, read defensively: a user's own client may map replies otherwise. */

/** One entry of a stream; `fields` is `undefined` when it was deleted. */
export interface Entry {
  readonly id: string;
  readonly fields: readonly Buffer[] | undefined;
}

/** An entry that was taken over: which of the asked streams, and how often it was handed out, this time included. */
export interface Claimed extends Entry {
  readonly stream: number;
  readonly deliveries: number;
}

function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

export function textOf(value: unknown): string {
  if (Buffer.isBuffer(value)) return value.toString();
  return typeof value === "string" || typeof value === "number" ? String(value) : "";
}

export function numberOf(value: unknown): number {
  return Number(textOf(value));
}

export function numbers(value: unknown): readonly number[] {
  return list(value).map(numberOf);
}

export function entriesOf(value: unknown): readonly Entry[] {
  return list(value).map((entry) => {
    const [id, fields] = list(entry);
    return { id: textOf(id), fields: fieldsOf(fields) };
  });
}

function fieldsOf(value: unknown): readonly Buffer[] | undefined {
  if (!Array.isArray(value)) return undefined;
  return value.map((field) => (Buffer.isBuffer(field) ? field : Buffer.from(String(field))));
}

/** XREAD and XREADGROUP: streams with their entries, as pairs or as one flat list. `undefined`: nothing came in time. */
export function streamsOf(value: unknown): ReadonlyMap<string, readonly Entry[]> | undefined {
  if (value === null || value === undefined) return undefined;
  const found = new Map<string, readonly Entry[]>();
  const pairs = list(value);
  if (pairs.length > 0 && !Array.isArray(pairs[0])) {
    for (let index = 0; index + 1 < pairs.length; index += 2)
      found.set(textOf(pairs[index]), entriesOf(pairs[index + 1]));
    return found;
  }
  for (const pair of pairs) {
    const [stream, entries] = list(pair);
    found.set(textOf(stream), entriesOf(entries));
  }
  return found;
}

/** What the scripts `claim` and `recover` answer; `next` is the cursor of `recover`, '' at the end. */
export function claimedOf(value: unknown): { readonly rows: readonly Claimed[]; readonly next: string } {
  const [rows, next] = list(value);
  return {
    rows: list(rows).map((row) => {
      const [stream, id, fields, deliveries] = list(row);
      return {
        stream: numberOf(stream) - 1,
        id: textOf(id),
        fields: fieldsOf(fields),
        deliveries: numberOf(deliveries),
      };
    }),
    next: textOf(next),
  };
}

type Taken =
  | { readonly entries: readonly Entry[]; readonly position: string }
  | { readonly error: string }
  | { readonly lost: true };

/** What the script `take` answers: per stream its entries and position, or what went wrong. */
export function takenOf(value: unknown): readonly Taken[] {
  return list(value).map((answer) => {
    if (!Array.isArray(answer)) return textOf(answer) === "lost" ? { lost: true } : { error: textOf(answer) };
    const [entries, position] = list(answer);
    return { entries: entriesOf(entries), position: textOf(position) };
  });
}
