import { SluiceError } from "@sluice/core";
import { isObject, type JsonObject, own, parseJson } from "../budget.ts";

/** A schema and the text it stands in, which its references mean. */
export interface Node {
  readonly schema: JsonObject | boolean;
  readonly document: Document;
}

/** Where a text's references lead. */
export interface Document {
  readonly root: Node;
  /** Drafts 4 to 7: what stands beside a `$ref` counts for nothing. */
  readonly legacy: boolean;
  /** Undefined for a reference into another text. */
  resolve(reference: string, from: JsonObject): Node | undefined;
  /** Every object in it. */
  readonly objects: Iterable<JsonObject>;
}

/** Members that hold values, not schemas: an `$id` in them names nothing. */
const values: ReadonlySet<string> = new Set(["enum", "const", "default", "examples"]);
const home = "schema:/";

/** Throws `CONFIG` for what is neither an object nor a boolean. */
export function parseDocument(text: string, owner: string): Document {
  const schema = parseJson(text, owner);
  if (!isObject(schema) && typeof schema !== "boolean") {
    throw new SluiceError(
      "CONFIG",
      `compatibility: ${owner} is not a JSON Schema; it must be an object, true or false`,
    );
  }
  const bases = new Map<JsonObject, string>();
  const targets = new Map<string, JsonObject>();
  if (isObject(schema)) register(schema, home, bases, targets);
  const dialect = isObject(schema) ? own(schema, "$schema") : undefined;
  const document: Document = {
    root: {
      schema,
      get document() {
        return document;
      },
    },
    legacy: typeof dialect === "string" && /draft-0[3-7]/.test(dialect),
    objects: bases.keys(),
    resolve(reference, from) {
      const target = find(reference, bases.get(from) ?? home, targets);
      return target === undefined ? undefined : { schema: target, document };
    },
  };
  return document;
}

function register(
  root: JsonObject,
  home: string,
  bases: Map<JsonObject, string>,
  targets: Map<string, JsonObject>,
): void {
  targets.set(home, root);
  const waiting: (readonly [unknown, string])[] = [[root, home]];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const [value, outer] = next;
    if (Array.isArray(value)) for (const each of value) waiting.push([each, outer]);
    if (!isObject(value)) continue;
    const base = ownBase(value, outer);
    bases.set(value, base);
    if (base !== outer) targets.set(base, value);
    for (const keyword of ["$anchor", "$dynamicAnchor", "$id"]) {
      const stated = own(value, keyword);
      if (typeof stated !== "string" || (keyword === "$id" && !stated.startsWith("#"))) continue;
      // Up to draft 7 an anchor was an `$id` with a hash.
      targets.set(`${base}#${stated.replace(/^#/, "")}`, value);
    }
    for (const [name, child] of Object.entries(value)) if (!values.has(name)) waiting.push([child, base]);
  }
}

function ownBase(value: JsonObject, outer: string): string {
  const id = own(value, "$id") ?? own(value, "id");
  if (typeof id !== "string" || id.startsWith("#")) return outer;
  return locate(id, outer)?.split("#")[0] ?? outer;
}

function locate(reference: string, base: string): string | undefined {
  return URL.canParse(reference, base) ? new URL(reference, base).href : undefined;
}

function find(reference: string, base: string, targets: Map<string, JsonObject>): JsonObject | boolean | undefined {
  const place = locate(reference, base);
  if (place === undefined) return undefined;
  const [resource = "", fragment = ""] = place.split("#", 2);
  if (fragment !== "" && !fragment.startsWith("/")) return targets.get(`${resource}#${fragment}`);
  let found: unknown = targets.get(resource);
  for (const part of fragment.split("/").slice(1)) {
    const name = decode(part);
    if (Array.isArray(found)) found = (found as readonly unknown[])[Number(name)];
    else found = isObject(found) ? own(found, name) : undefined;
  }
  return isObject(found) || typeof found === "boolean" ? found : undefined;
}

function decode(part: string): string {
  let text = part;
  try {
    text = decodeURIComponent(part);
  } catch {
    // A lone percent sign: taken as it is.
  }
  return text.replaceAll("~1", "/").replaceAll("~0", "~");
}

/** A part of a JSON pointer, for paths. */
export function escape(name: string): string {
  return name.replaceAll("~", "~0").replaceAll("/", "~1");
}
