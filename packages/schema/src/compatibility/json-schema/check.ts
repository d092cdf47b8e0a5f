import { isDeepStrictEqual } from "node:util";
import { type Budget, show } from "../budget.ts";
import type { Node } from "./document.ts";
import type { Flat, PlainNode } from "./flat.ts";

/** One comparison under way: whether all that a writer's schema allows is allowed by a reader's. */
export interface Check {
  readonly budget: Budget;
  readonly lenient: boolean;
  readonly report: (path: string, reason: string) => void;
  /** Reports what the writer may write and this schema of the reader does not allow. */
  readonly includes: (reader: Node, writer: Flat, path: string) => void;
  /** The same as a question: reports nothing. */
  readonly accepts: (reader: Node, writer: Flat) => boolean;
}

/** A part of the reader, all of the reader that it belongs to, and all that the writer says about the same place. */
export interface Pair {
  readonly part: PlainNode;
  readonly reader: Flat;
  readonly writer: Flat;
  readonly path: string;
}

/** A keyword that is not compared by meaning: it must not come or change. */
export function mustBeKept(keyword: string, found: unknown): string {
  return `${keyword} ${show(found)} was added or changed`;
}

/** Whether two schemas say the same word for word. A reference may mean another thing in another text: then they do not. */
export function sameWords(one: unknown, other: unknown): boolean {
  return isDeepStrictEqual(one, other) && !/"\$(?:ref|dynamicRef|recursiveRef)":/.test(JSON.stringify(one) ?? "");
}
