// Reads of a .proto file what decides about compatibility, in linear time. It does not prove that the file is valid: protoc
// does. Parsers made for code generation take seconds for a few thousand fields, which is too long for text from elsewhere.
import { checkLength } from "../budget.ts";
import { Tokens } from "./tokens.ts";

export interface ProtoFile {
  readonly package: string;
  /** By name inside of the package, nested ones as `Outer.Inner`, outer ones first. */
  readonly messages: ReadonlyMap<string, ProtoMessage>;
}
export interface ProtoMessage {
  readonly fields: ReadonlyMap<number, ProtoField>;
  /** Names of its oneofs, with the numbers in them. */
  readonly oneofs: ReadonlyMap<string, readonly number[]>;
}
export interface ProtoField {
  readonly name: string;
  readonly number: number;
  readonly label: "required" | "optional" | "repeated";
  /** The oneof that it stands in. */
  readonly oneof: string | undefined;
  /** Of a map. */
  readonly key: ProtoType | undefined;
  readonly value: ProtoType;
}
export interface ProtoType {
  readonly kind: "scalar" | "message" | "group";
  /** As it is written, for people. */
  readonly text: string;
  /** What must be equal: for scalars the encodings that read each other, for messages the name inside of the package. */
  readonly identity: string;
}

/** Scalars that can be read as each other. https://protobuf.dev/programming-guides/proto3/#updating */
const scalars: ReadonlyMap<string, string> = new Map([
  ...["int32", "int64", "uint32", "uint64", "bool"].map((name) => [name, "varint"] as const),
  ...["sint32", "sint64"].map((name) => [name, "zigzag"] as const),
  ...["string", "bytes"].map((name) => [name, "text"] as const),
  ...["fixed32", "sfixed32"].map((name) => [name, "fixed32"] as const),
  ...["fixed64", "sfixed64"].map((name) => [name, "fixed64"] as const),
  ["float", "float"],
  ["double", "double"],
]);
const labels = ["required", "optional", "repeated"] as const;
const maxDepth = 64;

interface State {
  readonly tokens: Tokens;
  package: string;
  readonly messages: Map<string, Map<number, RawField>>;
  /** Names that are enums or groups; all other known names are messages. */
  readonly enums: Set<string>;
  readonly groups: Set<string>;
}
interface RawField extends Omit<ProtoField, "key" | "value"> {
  readonly key: string | undefined;
  readonly type: string;
}

/** Throws `CONFIG` naming the line for what is not a `.proto` file. */
export function parseProto(text: string, owner: string): ProtoFile {
  checkLength(text);
  const tokens = new Tokens(text, owner);
  const state: State = { tokens, package: "", messages: new Map(), enums: new Set(), groups: new Set() };
  while (tokens.peek() !== "") readTopLevel(state);
  const messages = [...state.messages].map(([name, fields]) => [name, finish(state, name, fields)] as const);
  return { package: state.package, messages: new Map(messages) };
}

function readTopLevel(state: State): void {
  const { tokens } = state;
  if (tokens.take(";")) return;
  if (readType(state, "", 0)) return;
  const word = tokens.next();
  if (word === "package") state.package = tokens.name();
  else if (word === "service" || word === "extend") return skipNamedBlock(tokens);
  else if (!["syntax", "edition", "import", "option"].includes(word)) {
    throw tokens.invalid(`${JSON.stringify(word)} begins no statement`);
  }
  tokens.skipStatement();
}

function skipNamedBlock(tokens: Tokens): void {
  tokens.name();
  if (tokens.peek() !== "{") throw tokens.invalid('"{" is missing');
  tokens.skipBlock();
}

/** A message or an enum, if one comes. */
function readType(state: State, outer: string, depth: number): boolean {
  const { tokens } = state;
  // Edition 2024: who may import it.
  if (["export", "local"].includes(tokens.peek()) && tokens.peek(3) === "{") tokens.next();
  const word = tokens.peek();
  if ((word !== "message" && word !== "enum") || tokens.peek(2) !== "{") return false;
  tokens.next();
  const name = join(outer, tokens.name());
  if (state.messages.has(name) || state.enums.has(name)) throw tokens.invalid(`${name} is defined a second time`);
  if (word === "enum") {
    state.enums.add(name);
    tokens.skipBlock();
  } else readMessage(state, name, depth + 1);
  return true;
}

function join(outer: string, name: string): string {
  return outer === "" ? name : `${outer}.${name}`;
}

function readMessage(state: State, name: string, depth: number): void {
  const { tokens } = state;
  if (depth > maxDepth) throw tokens.invalid(`it nests deeper than ${maxDepth} levels`);
  const fields = new Map<number, RawField>();
  state.messages.set(name, fields);
  tokens.expect("{");
  while (!tokens.take("}")) {
    if (tokens.take(";") || readType(state, name, depth)) continue;
    const word = tokens.peek();
    if (word === "oneof" && tokens.peek(2) === "{") readOneof(state, name, fields, depth);
    else if (word === "extend" && tokens.peek(2) === "{") {
      tokens.next();
      skipNamedBlock(tokens);
    } else if (["option", "reserved", "extensions"].includes(word)) tokens.skipStatement();
    else readField(state, name, fields, undefined, depth);
  }
}

function readOneof(state: State, message: string, fields: Map<number, RawField>, depth: number): void {
  const { tokens } = state;
  tokens.expect("oneof");
  const name = tokens.name();
  tokens.expect("{");
  while (!tokens.take("}")) {
    if (tokens.take(";")) continue;
    if (tokens.peek() === "option") tokens.skipStatement();
    else readField(state, message, fields, name, depth);
  }
}

function readField(
  state: State,
  message: string,
  fields: Map<number, RawField>,
  oneof: string | undefined,
  depth: number,
): void {
  const { tokens } = state;
  const label = labels.find((each) => each === tokens.peek() && tokens.take(each)) ?? "optional";
  let type = tokens.name();
  let key: string | undefined;
  if (type === "map" && tokens.take("<")) {
    key = tokens.name();
    tokens.expect(",");
    type = tokens.name();
    tokens.expect(">");
  }
  const name = tokens.name();
  tokens.expect("=");
  const number = Number(tokens.next());
  if (!Number.isInteger(number) || number < 1) throw tokens.invalid(`the field ${name} has no number`);
  if (fields.has(number)) throw tokens.invalid(`the number ${number} is used a second time`);
  if (tokens.peek() === "[") tokens.skipBlock();
  const isGroup = type === "group";
  fields.set(number, { name, number, label, oneof, key, type: isGroup ? name : type });
  if (!isGroup) return tokens.expect(";");
  const group = join(message, name);
  state.groups.add(group);
  readMessage(state, group, depth + 1);
}

function finish(state: State, message: string, raw: ReadonlyMap<number, RawField>): ProtoMessage {
  const fields = new Map<number, ProtoField>();
  const oneofs = new Map<string, number[]>();
  for (const [number, { key, type, ...field }] of raw) {
    const value = typeOf(state, message, type);
    fields.set(number, { ...field, key: key === undefined ? undefined : typeOf(state, message, key), value });
    if (field.oneof === undefined) continue;
    const members = oneofs.get(field.oneof) ?? [];
    members.push(number);
    oneofs.set(field.oneof, members);
  }
  return { fields, oneofs };
}

function typeOf(state: State, message: string, text: string): ProtoType {
  const scalar = scalars.get(text);
  if (scalar !== undefined) return { kind: "scalar", text, identity: scalar };
  const name = lookUp(state, message, text);
  if (name !== undefined && state.enums.has(name)) return { kind: "scalar", text: `enum ${text}`, identity: "varint" };
  if (name !== undefined) return { kind: state.groups.has(name) ? "group" : "message", text, identity: name };
  // Imported: another file's contract. Its name is all that is known.
  return { kind: "message", text, identity: text.replace(/^\./, "") };
}

/** From the innermost scope outwards; with the package's name it means the outermost. */
function lookUp(state: State, message: string, text: string): string | undefined {
  const known = (name: string) => state.messages.has(name) || state.enums.has(name);
  const inside = `${state.package}.`;
  const absolute = text.replace(/^\./, "");
  const outermost = state.package !== "" && absolute.startsWith(inside) ? absolute.slice(inside.length) : absolute;
  if (!text.startsWith(".")) {
    for (let scope = message; scope !== ""; scope = scope.slice(0, Math.max(0, scope.lastIndexOf(".")))) {
      const name = `${scope}.${text}`;
      if (known(name)) return name;
    }
  }
  return known(absolute) ? absolute : known(outermost) ? outermost : undefined;
}
