// Reads "compatible" as inclusion: is every value that the writer's schema allows allowed by the reader's? What cannot be
// shown counts as no. Where the Confluent registry's rules are more generous (defaults, `lenient`), they are followed.
import { isDeepStrictEqual } from "node:util";
import { Budget, own, show } from "../budget.ts";
import type { Comparison, Finding } from "../types.ts";
import { compareArray } from "./array.ts";
import { type Check, mustBeKept, type Pair, sameWords } from "./check.ts";
import { refuseCycles } from "./cycles.ts";
import { type Document, type Node, parseDocument } from "./document.ts";
import { flatten, type Flat, Identities, node, type PlainNode } from "./flat.ts";
import { contains, type Kind, kindNames, kindOf, kinds, kindsOf, values, valuesOf } from "./kinds.ts";
import { compareObject } from "./object.ts";
import { compareNumber, compareString } from "./scalars.ts";
import { compareSum } from "./sums.ts";

export function jsonSchemaComparison(policy: "strict" | "lenient"): Comparison<Document> {
  return {
    parse(text, owner) {
      const document = parseDocument(text, owner);
      refuseCycles(document, owner);
      return document;
    },
    read(reader, writer, budget) {
      if (isDeepStrictEqual(reader.root.schema, writer.root.schema)) return [];
      const findings: Finding[] = [];
      new Inclusion(budget, policy === "lenient").run(reader.root, flatten([writer.root], budget), findings);
      return findings;
    },
  };
}

/** n.b. thrown very often: made once, because an Error takes its time to note where it was made. */
const refusal: Error = new Error("refused");

class Inclusion {
  readonly #budget: Budget;
  readonly #lenient: boolean;
  readonly #identities: Identities = new Identities();
  /** Pairs under way or done: a recursive schema asks for the same pair again, and the answer is the one being found. */
  readonly #seen: Set<string> = new Set();
  /** The same, in order. */
  readonly #order: string[] = [];
  /** Pairs that a trial has refused. */
  readonly #refused: Set<string> = new Set();
  readonly #trial: Check;

  constructor(budget: Budget, lenient: boolean) {
    this.#budget = budget;
    this.#lenient = lenient;
    this.#trial = this.#check(() => {
      throw refusal;
    });
  }

  run(reader: Node, writer: Flat, findings: Finding[]): void {
    this.#includes(
      this.#check((path, reason) => void findings.push({ path, reason })),
      reader,
      writer,
      "#",
    );
  }

  #check(report: Check["report"]): Check {
    const check: Check = {
      budget: this.#budget,
      lenient: this.#lenient,
      report,
      includes: (reader, writer, path) => this.#includes(check, reader, writer, path),
      accepts: (reader, writer) => this.#try((trial) => this.#includes(trial, reader, writer, "")),
    };
    return check;
  }

  /** Ends with the first finding, which does not count; what was assumed on the way to it is forgotten. */
  #try(run: (trial: Check) => void): boolean {
    const before = this.#order.length;
    try {
      run(this.#trial);
      return true;
    } catch (error) {
      if (error !== refusal) throw error;
      for (const key of this.#order.splice(before)) this.#seen.delete(key);
      return false;
    }
  }

  #includes(check: Check, reader: Node, writer: Flat, path: string): void {
    this.#budget.spend(4 + writer.parts.length + writer.sums.length);
    const read = flatten([reader], this.#budget);
    const key = `${this.#identities.ofFlat(read)}<${this.#identities.ofFlat(writer)}`;
    if (writer.impossible || this.#seen.has(key)) return;
    // What was refused with more taken for granted than now is refused for good.
    if (check === this.#trial && this.#refused.has(key)) throw refusal;
    this.#seen.add(key);
    this.#order.push(key);
    try {
      this.#budget.nested(() => this.#compare(check, read, writer, path));
    } catch (error) {
      if (error === refusal) this.#refused.add(key);
      throw error;
    }
  }

  #compare(check: Check, reader: Flat, writer: Flat, path: string): void {
    if (reader.impossible) return check.report(path, "nothing is allowed here");
    for (const reference of reader.external) {
      if (!writer.external.has(reference))
        check.report(path, `${show(reference)} leads to another text, which is not known`);
    }
    for (const part of reader.parts) {
      this.#perBranch(check, writer, path, (each, trial, place) =>
        comparePart(trial, { part, reader, writer: each, path: place }),
      );
    }
    for (const sum of reader.sums) {
      const ambiguous = sum.keyword === "oneOf" && sum.branches.length > 1;
      const any = writer.sums.find(({ keyword, branches }) => keyword === "anyOf" && branches.length > 1);
      if (ambiguous && any !== undefined && !writer.sums.some(({ keyword }) => keyword === "oneOf")) {
        check.report(path, "anyOf became oneOf, which refuses what more than one branch allows");
        continue;
      }
      this.#perBranch(check, writer, path, (each, trial, place) => compareSum(trial, sum, each, place));
    }
  }

  /** One question about all that the writer allows; where the answer is no, about each branch of its unions. */
  #perBranch(check: Check, writer: Flat, path: string, ask: (writer: Flat, check: Check, path: string) => void): void {
    if (writer.impossible) return;
    const [sum, ...sums] = writer.sums;
    if (sum === undefined) return ask(writer, check, path);
    if (this.#try((trial) => ask({ ...writer, sums: [] }, trial, path))) return;
    sum.branches.forEach((branch, index) => {
      this.#budget.nested(() => {
        const split = flatten([branch], this.#budget, { ...writer, sums });
        this.#perBranch(check, split, `${path}/${sum.keyword}/${index}`, ask);
      });
    });
  }
}

function comparePart(check: Check, pair: Pair): void {
  const { part, writer, path } = pair;
  check.budget.spend(4 + Object.keys(part.schema).length + 3 * writer.parts.length);
  const list = values(writer);
  const written = list === undefined ? kinds(writer) : new Set(list.map(kindOf));
  const read = kindsOf(part);
  const refused = [...written].filter((kind) => !read.has(kind));
  if (refused.length > 0) check.report(path, `the type ${kindNames(refused)} is no longer allowed`);
  compareValues(check, pair, list);
  const report = (keyword: string, reason: string) => check.report(`${path}/${keyword}`, reason);
  const shared = (...some: readonly Kind[]) => some.some((kind) => written.has(kind) && read.has(kind));
  if (shared("string")) compareString(part, writer, list, report);
  if (shared("integer", "fraction")) compareNumber(part, writer, list, report);
  // n.b. what a listed object or array holds is not looked at: the lists themselves are compared.
  if (shared("object")) compareObject(check, pair);
  if (shared("array")) compareArray(check, pair);
  compareConditions(check, pair);
}

function compareValues(check: Check, { part, path }: Pair, list: readonly unknown[] | undefined): void {
  const allowed = valuesOf(part);
  if (allowed === undefined) return;
  const keyword = Object.hasOwn(part.schema, "const") ? "const" : "enum";
  if (list === undefined) return check.report(`${path}/${keyword}`, mustBeKept(keyword, part.schema[keyword]));
  check.budget.spend(list.length * allowed.length);
  const gone = list.filter((value) => !contains(allowed, value));
  if (gone.length === 0) return;
  check.report(`${path}/${keyword}`, `${gone.slice(0, 5).map(show).join(", ")} is no longer allowed`);
}

/** `not` turns the question around; `if` is compared as it stands. */
function compareConditions(check: Check, { part, writer, path }: Pair): void {
  const refused = node(part, "not");
  if (refused !== undefined && !excluded(check, refused, writer)) {
    check.report(`${path}/not`, mustBeKept("not", refused.schema));
  }
  const condition = conditionOf(part);
  if (condition === undefined || writer.parts.some((each) => sameWords(conditionOf(each), condition))) return;
  check.report(`${path}/if`, mustBeKept("if", condition[0]));
}

/** `if`, `then` and `else` mean something only together. */
function conditionOf({ schema }: PlainNode): readonly unknown[] | undefined {
  const [condition, ...rest] = ["if", "then", "else"].map((keyword) => own(schema, keyword) ?? true);
  return own(schema, "if") === undefined ? undefined : [condition, ...rest];
}

/** Whether the writer never writes what the reader refuses: it refuses at least as much, or writes other kinds of values. */
function excluded(check: Check, refused: Node, writer: Flat): boolean {
  const flat = flatten([refused], check.budget);
  const written = kinds(writer);
  if (flat.impossible || ![...kinds(flat)].some((kind) => written.has(kind))) return true;
  return writer.parts.some((part: PlainNode) => {
    const own = node(part, "not");
    return own !== undefined && check.accepts(own, flat);
  });
}
