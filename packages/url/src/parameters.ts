import { readFileSync } from "node:fs";
import { type Parts, wrong } from "./parts.ts";

/** `file`: the path of a file whose text is the value. A list: one of these words. */
export type ParameterKind = "text" | "number" | "flag" | "file" | readonly string[];
export type ParameterTable = Readonly<Record<string, ParameterKind>>;

type ValueOf<Kind> = Kind extends "number"
  ? number
  : Kind extends "flag"
    ? boolean
    : Kind extends readonly (infer Word)[]
      ? Word
      : string;

/** What was given, by name; what was not is absent. */
export type Values<Table extends ParameterTable> = { readonly [Name in keyof Table]?: ValueOf<Table[Name]> };

/** @throws SluiceError `CONFIG`, which names the parameter: unknown, doubled, or with a wrong value */
export function read<const Table extends ParameterTable>({ scheme, query }: Parts, table: Table): Values<Table> {
  const values: Record<string, string | number | boolean> = {};
  for (const [name, text] of query) {
    const kind = Object.hasOwn(table, name) ? table[name] : undefined;
    if (kind === undefined) {
      throw wrong(scheme, `parameter "${name}" is unknown`, `there are ${Object.keys(table).toSorted().join(", ")}`);
    }
    if (name in values) throw wrong(scheme, `parameter "${name}" is given twice`, "give it once");
    values[name] = valueOf(scheme, name, text, kind);
  }
  // Each value was made by the kind of its name, which the compiler cannot follow through the loop.
  return values as Values<Table>;
}

function valueOf(scheme: string, name: string, text: string, kind: ParameterKind): string | number | boolean {
  switch (kind) {
    case "text":
      return text;
    case "number":
      if (!/^-?\d+(?:\.\d+)?$/.test(text)) throw wrong(scheme, `parameter ${name} is "${text}"`, "use a number");
      return Number(text);
    case "flag":
      if (text !== "true" && text !== "false")
        throw wrong(scheme, `parameter ${name} is "${text}"`, "use true or false");
      return text === "true";
    case "file":
      try {
        return readFileSync(text, "utf8");
      } catch (error) {
        throw wrong(scheme, `parameter ${name}: the file ${text} cannot be read`, "give the path of a PEM file", error);
      }
    default:
      if (!kind.includes(text)) throw wrong(scheme, `parameter ${name} is "${text}"`, `use ${kind.join(" or ")}`);
      return text;
  }
}
