import { type JsonObject, show } from "../budget.ts";
import type { Check } from "./check.ts";
import type { Flat, Sum } from "./flat.ts";
import { kindNames, kinds, type Kind, values } from "./kinds.ts";

/**
 * Whether what the writer allows is allowed by some branch; where no branch takes it whole, by one branch for each kind of
 * value, or for each value. n.b. branches of `oneOf` are not shown to exclude each other: neither does the registry.
 */
export function compareSum(check: Check, sum: Sum, writer: Flat, path: string): void {
  const [first] = sum.branches;
  if (first !== undefined && sum.branches.length === 1)
    return check.includes(first, writer, `${path}/${sum.keyword}/0`);
  if (sum.branches.some((branch) => check.accepts(branch, writer))) return;
  const document = first?.document;
  if (document === undefined) return;
  const pieces = split(writer);
  for (const { name, schema } of pieces) {
    const piece = schema === undefined ? writer : { ...writer, parts: [...writer.parts, { schema, document }] };
    if (pieces.length > 1 && sum.branches.some((branch) => check.accepts(branch, piece))) continue;
    check.report(`${path}/${sum.keyword}`, `no branch of ${sum.keyword} allows ${name}`);
  }
}

interface Piece {
  readonly name: string;
  /** What narrows the writer to it. */
  readonly schema?: JsonObject;
}

const typeOf: Readonly<Record<Kind, JsonObject>> = {
  null: { type: "null" },
  boolean: { type: "boolean" },
  object: { type: "object" },
  array: { type: "array" },
  string: { type: "string" },
  integer: { type: "integer" },
  fraction: { type: "number" },
};

function split(writer: Flat): readonly Piece[] {
  const list = values(writer);
  if (list !== undefined && list.length <= 100)
    return list.map((value) => ({ name: show(value), schema: { const: value } }));
  const all = [...kinds(writer)];
  // A number that need not be an integer stands for both.
  const distinct = all.includes("fraction") ? all.filter((kind) => kind !== "integer") : all;
  if (distinct.length === 1) return [{ name: `this ${kindNames(all)}` }];
  return distinct.map((kind) => ({ name: `the type ${kindNames([kind])}`, schema: typeOf[kind] }));
}
