import type { LogicalType } from "./logical-types.ts";

/** What Sluice reads of avsc's types, whose own declarations know less. */
export interface Node {
  readonly typeName: string;
  readonly name?: string | undefined;
  readonly branchName?: string | undefined;
  readonly aliases?: readonly string[] | undefined;
  readonly fields?: readonly NodeField[];
  readonly itemsType?: Node;
  readonly valuesType?: Node;
  readonly types?: readonly Node[];
  readonly symbols?: readonly string[];
  readonly default?: string | undefined;
  readonly size?: number;
  readonly underlyingType?: Node;
}

export interface NodeField {
  readonly name: string;
  readonly aliases: readonly string[];
  readonly type: Node;
  /** `undefined` when there is none. */
  defaultValue(): unknown;
}

/** Without its logical type. */
export function plain(node: Node): Node {
  return node.typeName.startsWith("logical:") ? (node.underlyingType ?? node) : node;
}

/** By the name without its namespace, or by an alias of the reader. */
export function areNamed(reader: Node, writer: Node): boolean {
  if (writer.name === undefined || reader.name === undefined) return true;
  const wanted = unqualified(writer.name);
  return [reader.name, ...(reader.aliases ?? [])].some((name) => unqualified(name) === wanted);
}

/** Whether one can be read as the other as it is. */
export function isSame(reader: Node, writer: Node): boolean {
  const a = plain(reader);
  const b = plain(writer);
  return a.typeName === b.typeName && areNamed(a, b) && signature(reader) === signature(writer);
}

function signature(node: Node): string | undefined {
  return (node as Node & Partial<LogicalType>).conversion?.signature;
}

function unqualified(name: string): string {
  return name.slice(name.lastIndexOf(".") + 1);
}
