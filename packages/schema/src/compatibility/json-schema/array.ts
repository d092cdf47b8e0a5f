// Arrays: place by place, then all places behind.
import { own } from "../budget.ts";
import { type Check, mustBeKept, type Pair, sameWords } from "./check.ts";
import type { Node } from "./document.ts";
import { flatten, node, nodes, type PlainNode } from "./flat.ts";
import { compareCount, tightest } from "./scalars.ts";

/** What one part says about places. */
interface Places {
  readonly first: readonly Node[];
  readonly rest: Node | undefined;
  readonly keyword: string;
}

/** n.b. `items` was a list for places up to draft 2019-09, beside `additionalItems`; since 2020-12 it is what comes behind. */
function places(part: PlainNode): Places {
  const old = nodes(part, "items");
  if (Array.isArray(own(part.schema, "items"))) {
    return { first: old, rest: node(part, "additionalItems"), keyword: "additionalItems" };
  }
  const items = node(part, "items");
  const rest = items ?? node(part, "unevaluatedItems");
  return { first: nodes(part, "prefixItems"), rest, keyword: items === undefined ? "unevaluatedItems" : "items" };
}

export function compareArray(check: Check, { part, writer, path }: Pair): void {
  const read = places(part);
  const written = writer.parts.map(places);
  const most = tightest(writer, "maxItems") ?? Number.POSITIVE_INFINITY;
  const listed = Math.min(most, Math.max(read.first.length, ...written.map(({ first }) => first.length)));
  check.budget.spend(listed * (1 + written.length));
  for (let index = 0; index < listed; index += 1) {
    const schema = read.first[index] ?? read.rest;
    const before = written.flatMap(({ first, rest }) => first[index] ?? rest ?? []);
    if (schema !== undefined) check.includes(schema, flatten(before, check.budget), `${path}/prefixItems/${index}`);
  }
  if (read.rest !== undefined && most > listed) {
    const before = written.flatMap(({ rest }) => rest ?? []);
    check.includes(read.rest, flatten(before, check.budget), `${path}/${read.keyword}`);
  }
  const report = (keyword: string, reason: string) => check.report(`${path}/${keyword}`, reason);
  compareCount(part, "minItems", tightest(writer, "minItems"), report);
  compareCount(part, "maxItems", tightest(writer, "maxItems"), report);
  if (
    own(part.schema, "uniqueItems") === true &&
    !writer.parts.some(({ schema }) => own(schema, "uniqueItems") === true)
  ) {
    report("uniqueItems", "uniqueItems was added");
  }
  compareContains(part, writer.parts, report);
}

function compareContains(
  part: PlainNode,
  written: readonly PlainNode[],
  report: (keyword: string, reason: string) => void,
): void {
  const wanted = own(part.schema, "contains");
  if (wanted === undefined) return;
  const same = written.find(({ schema }) => sameWords(own(schema, "contains"), wanted));
  if (same === undefined) return report("contains", mustBeKept("contains", wanted));
  const least = own(same.schema, "minContains");
  compareCount(part, "minContains", typeof least === "number" ? least : 1, report);
  const most = own(same.schema, "maxContains");
  compareCount(part, "maxContains", typeof most === "number" ? most : undefined, report);
}
