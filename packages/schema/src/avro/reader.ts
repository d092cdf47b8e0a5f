import type avsc from "avsc";
import { Unreadable, within } from "../unreadable.ts";
import type { Cursor } from "./cursor.ts";
import type { LogicalType } from "./logical-types.ts";
import { areNamed, isSame, type Node, type NodeField, plain } from "./nodes.ts";

/** Reads one value. */
export type Read = (cursor: Cursor) => unknown;

/**
 * A reader of what `writer` wrote as `reader` has it, by the rules of "Schema Resolution" in the Avro specification.
 *
 * Why not avsc's own: it promotes some longs to doubles with the wrong sign, takes counts and lengths on trust (a block that says
 * −1 bytes makes it skip for ever), replaces text that is not UTF-8, and cannot say where in a value it failed.
 * @throws Error when no value of the writer could be read
 */
export function readerFor(reader: avsc.Type, writer: avsc.Type, longs: "bigint" | "number"): Read {
  return new Resolution(longs).read(reader as unknown as Node, writer as unknown as Node);
}

class Resolution {
  readonly #longs: "bigint" | "number";
  /** Records that are being made, so that recursive ones end. */
  readonly #records = new Map<Node, Map<Node, { read: Read | undefined }>>();

  constructor(longs: "bigint" | "number") {
    this.#longs = longs;
  }

  read(reader: Node, writer: Node): Read {
    if (writer.typeName.startsWith("union")) return this.#fromUnion(reader, writer);
    if (reader.typeName.startsWith("union")) return this.#toUnion(reader, writer);
    const { conversion } = reader as Node & Partial<LogicalType>;
    if (conversion === undefined) return this.#plain(reader, plain(writer));
    const written = (writer as Node & Partial<LogicalType>).conversion;
    if (written !== undefined && written.signature !== conversion.signature) {
      throw new Error(`${written.signature} cannot be read as ${conversion.signature}`);
    }
    const inner = this.#plain(plain(reader), plain(writer));
    return (cursor) => conversion.read(inner(cursor));
  }

  /** A branch that cannot be read is an error of the message that has it, unless none can. */
  #fromUnion(reader: Node, writer: Node): Read {
    const branches = writer.types ?? [];
    let last: unknown;
    const reads = branches.map((branch) => {
      try {
        return this.read(reader, branch);
      } catch (error) {
        last = error;
        return undefined;
      }
    });
    if (reads.every((read) => read === undefined)) throw last;
    return (cursor) => {
      const index = cursor.index(reads.length);
      const read = reads[index];
      if (read) return read(cursor);
      throw new Unreadable(
        `${branches[index]?.branchName} cannot be read as ${reader.branchName ?? "the reader's union"}`,
      );
    };
  }

  /** n.b. the same type goes before the first that it could be promoted to: an int stays an int where both sides have it. */
  #toUnion(reader: Node, writer: Node): Read {
    const branches = reader.types ?? [];
    const sorted = [
      ...branches.filter((each) => isSame(each, writer)),
      ...branches.filter((each) => !isSame(each, writer)),
    ];
    for (const branch of sorted) {
      const read = this.#attempt(branch, writer);
      if (!read) continue;
      const { branchName = "" } = branch;
      if (reader.typeName === "union:unwrapped" || branch.typeName === "null") return read;
      return (cursor) => ({ [branchName]: read(cursor) });
    }
    throw new Error(`${writer.branchName} is in no branch of the reader's union`);
  }

  #attempt(reader: Node, writer: Node): Read | undefined {
    try {
      return this.read(reader, writer);
    } catch {
      return undefined;
    }
  }

  #plain(reader: Node, writer: Node): Read {
    switch (reader.typeName) {
      case "record":
      case "error":
        if (writer.fields && areNamed(reader, writer)) return this.#record(reader, writer);
        break;
      case "array":
        if (reader.itemsType && writer.itemsType) return arrayOf(this.read(reader.itemsType, writer.itemsType));
        break;
      case "map":
        if (reader.valuesType && writer.valuesType) return mapOf(this.read(reader.valuesType, writer.valuesType));
        break;
      case "enum":
        if (writer.symbols && areNamed(reader, writer)) return enumOf(reader, writer);
        break;
      case "fixed":
        if (writer.size === reader.size && areNamed(reader, writer)) return (cursor) => cursor.fixed(writer.size ?? 0);
        break;
      default:
    }
    const read = primitives[`${writer.typeName}>${reader.typeName}`]?.(this.#longs);
    if (read) return read;
    throw new Error(`${describe(writer)} cannot be read as ${describe(reader)}`);
  }

  #record(reader: Node, writer: Node): Read {
    const pairs = this.#records.get(reader) ?? new Map<Node, { read: Read | undefined }>();
    this.#records.set(reader, pairs);
    const known = pairs.get(writer);
    if (known) return (cursor) => known.read?.(cursor);
    const entry: { read: Read | undefined } = { read: undefined };
    pairs.set(writer, entry);
    try {
      entry.read = recordOf(this.#steps(reader, writer), fieldsOf(reader, writer));
      return entry.read;
    } catch (error) {
      pairs.delete(writer);
      throw error;
    }
  }

  #steps(reader: Node, writer: Node): readonly Step[] {
    return (writer.fields ?? []).map(({ name, type }) => {
      const target = targetOf(reader, name);
      try {
        return { name, target: target?.name, read: this.read(target?.type ?? type, type) };
      } catch (cause) {
        throw new Error(`${name}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
      }
    });
  }
}

function targetOf({ fields = [] }: Node, name: string): NodeField | undefined {
  return fields.find((field) => field.name === name) ?? fields.find(({ aliases }) => aliases.includes(name));
}

/** The reader's fields; with a default where the writer does not have them. */
function fieldsOf(reader: Node, writer: Node): ReadonlyMap<string, (() => unknown) | undefined> {
  const written = new Set(writer.fields?.map(({ name }) => targetOf(reader, name)?.name));
  return new Map(
    (reader.fields ?? []).map((field) => {
      if (written.has(field.name)) return [field.name, undefined];
      if (field.defaultValue() !== undefined) return [field.name, () => unclassed(field.defaultValue())];
      throw new Error(`${field.name}: the writer does not have it, and it has no default`);
    }),
  );
}

interface Step {
  /** In the writer's schema. */
  readonly name: string;
  /** In the reader's; `undefined`: read and forgotten. */
  readonly target: string | undefined;
  readonly read: Read;
}

function recordOf(steps: readonly Step[], fields: ReadonlyMap<string, (() => unknown) | undefined>): Read {
  // Made in the reader's order once, so that every value has its fields in that order.
  const template = Object.fromEntries([...fields.keys()].map((name) => [name, undefined]));
  const defaults = [...fields].flatMap(([name, make]) => (make ? [{ name, make }] : []));
  return (cursor) => {
    cursor.enter();
    const value: Record<string, unknown> = { ...template };
    let index = 0;
    try {
      for (; index < steps.length; index++) {
        const { target, read } = steps[index] as Step;
        const field = read(cursor);
        if (target !== undefined) value[target] = field;
      }
    } catch (error) {
      throw within(error, steps[index]?.name ?? "");
    }
    for (const { name, make } of defaults) value[name] = make();
    cursor.leave();
    return value;
  };
}

function arrayOf(read: Read): Read {
  return (cursor) => {
    cursor.enter();
    const items: unknown[] = [];
    for (let count = cursor.block(); count > 0; count = cursor.block()) {
      try {
        for (; count > 0; count--) items.push(read(cursor));
      } catch (error) {
        throw within(error, items.length);
      }
    }
    cursor.leave();
    return items;
  };
}

function mapOf(read: Read): Read {
  return (cursor) => {
    cursor.enter();
    const map: Record<string, unknown> = {};
    for (let count = cursor.block(); count > 0; count = cursor.block()) {
      for (; count > 0; count--) {
        const key = cursor.text();
        try {
          set(map, key, read(cursor));
        } catch (error) {
          throw within(error, key);
        }
      }
    }
    cursor.leave();
    return map;
  };
}

/** n.b. assigning to `__proto__` would change what the object is. */
function set(map: Record<string, unknown>, key: string, value: unknown): void {
  if (key !== "__proto__") map[key] = value;
  else Object.defineProperty(map, key, { value, enumerable: true, configurable: true, writable: true });
}

function enumOf(reader: Node, writer: Node): Read {
  const symbols = writer.symbols ?? [];
  const known = symbols.map((symbol) => (reader.symbols?.includes(symbol) ? symbol : reader.default));
  if (known.every((symbol) => symbol === undefined)) throw new Error(`no symbol of ${describe(writer)} is known`);
  return (cursor) => {
    const index = cursor.index(symbols.length);
    const symbol = known[index];
    if (symbol !== undefined) return symbol;
    throw new Unreadable(`symbol "${symbols[index]}" is unknown, and ${describe(reader)} has no default`);
  };
}

const asText: Read = (cursor) => cursor.text();
const asBytes: Read = (cursor) => cursor.bytes();
const asInt: Read = (cursor) => cursor.int();
const asFloat: Read = (cursor) => cursor.float();

/** Writer > reader: themselves, and the promotions. */
const primitives: Readonly<Record<string, (longs: "bigint" | "number") => Read>> = {
  "null>null": () => () => null,
  "boolean>boolean": () => (cursor) => cursor.boolean(),
  "int>int": () => asInt,
  "int>abstract:long": (longs) => (longs === "bigint" ? (cursor) => BigInt(cursor.int()) : asInt),
  "int>float": () => (cursor) => Math.fround(cursor.int()),
  "int>double": () => asInt,
  "abstract:long>abstract:long": (longs) =>
    longs === "bigint" ? (cursor) => cursor.bigint() : (cursor) => cursor.number(),
  "abstract:long>float": () => (cursor) => Math.fround(Number(cursor.bigint())),
  "abstract:long>double": () => (cursor) => Number(cursor.bigint()),
  "float>float": () => asFloat,
  "float>double": () => asFloat,
  "double>double": () => (cursor) => cursor.double(),
  "string>string": () => asText,
  "bytes>string": () => asText,
  "bytes>bytes": () => asBytes,
  "string>bytes": () => asBytes,
};

function describe({ typeName, name }: Node): string {
  const kind = typeName === "abstract:long" ? "long" : typeName;
  return name === undefined ? kind : `${kind} ${name}`;
}

/** avsc makes defaults of records with classes of its own. */
function unclassed(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(unclassed);
  if (typeof value !== "object" || value === null || value instanceof Uint8Array || value instanceof Date) return value;
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, unclassed(each)]));
}
