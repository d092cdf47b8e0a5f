import { type DescField, type DescMessage, type Message, ScalarType } from "@bufbuild/protobuf";
import type { Issue } from "@sluice/core";
import { kindOf } from "../errors.ts";

type Path = readonly (string | number)[];
type Report = (path: Path, message: string) => void;

/** Deeper than any reader goes: also the end of an object that contains itself. */
const deepest = 100;
const mostIssues = 20;

/**
 * What in a message its descriptor does not allow. n.b. the library's own writer makes text of whatever stands in a string field.
 */
export function issuesOf(descriptor: DescMessage, message: Message): readonly Issue[] {
  const issues: Issue[] = [];
  const report: Report = (path, text) => {
    if (issues.length < mostIssues) issues.push({ path: path.join("."), message: text });
  };
  checkMessage(descriptor, message, [], report);
  return issues;
}

function checkMessage(descriptor: DescMessage, value: unknown, path: Path, report: Report): void {
  if (path.length > deepest * 2) return report(path, `more than ${deepest} levels of nesting`);
  if (typeof value !== "object" || value === null)
    return report(path, `${kindOf(value)} is not a ${descriptor.typeName}`);
  const fields = value as Readonly<Record<string, unknown>>;
  for (const field of descriptor.fields) {
    const found = field.oneof ? inOneof(field, fields[field.oneof.localName]) : fields[field.localName];
    const at = field.oneof ? [...path, field.oneof.localName] : [...path, field.localName];
    if (found !== undefined) checkField(field, found, at, report);
    else if (field.presence === legacyRequired) report(at, "is required");
  }
}

/** `FeatureSet.FieldPresence.LEGACY_REQUIRED`. */
const legacyRequired = 3;

function inOneof(field: DescField, oneof: unknown): unknown {
  if (typeof oneof !== "object" || oneof === null) return undefined;
  const { case: name, value } = oneof as { readonly case?: unknown; readonly value?: unknown };
  return name === field.localName ? value : undefined;
}

function checkField(field: DescField, value: unknown, path: Path, report: Report): void {
  if (field.fieldKind === "list") {
    if (!Array.isArray(value)) return report(path, `${kindOf(value)} is not a list`);
    value.forEach((item, index) => checkItem(field, item, [...path, index], report));
  } else if (field.fieldKind === "map") {
    if (typeof value !== "object" || value === null) return report(path, `${kindOf(value)} is not a map`);
    for (const [key, item] of Object.entries(value)) checkItem(field, item, [...path, key], report);
  } else {
    checkItem(field, value, path, report);
  }
}

function checkItem(field: DescField, value: unknown, path: Path, report: Report): void {
  if (field.scalar !== undefined) {
    const wrong = wrongScalar(field.scalar, value, "longAsString" in field && field.longAsString);
    if (wrong !== undefined) report(path, `${kindOf(value)} ${wrong}`);
  } else if (field.enum) {
    if (!isIn(value, int32)) report(path, `${kindOf(value)} is not a value of ${field.enum.typeName}`);
  } else if (field.message) {
    checkNested(field, field.message, value, path, report);
  }
}

/** n.b. a field of a wrapper holds the scalar, a field of google.protobuf.Struct holds JSON. */
function checkNested(field: DescField, descriptor: DescMessage, value: unknown, path: Path, report: Report): void {
  const { typeName, fields } = descriptor;
  if (typeName === "google.protobuf.Struct" && field.parent.typeName !== "google.protobuf.Value") {
    if (typeof value !== "object" || value === null) report(path, `${kindOf(value)} is not a JSON object`);
  } else if (wrappers.test(typeName) && field.fieldKind === "message" && !field.oneof && fields[0]) {
    checkItem(fields[0], value, path, report);
  } else {
    checkMessage(descriptor, value, path, report);
  }
}

const wrappers = /^google\.protobuf\.(?:Double|Float|U?Int64|U?Int32|Bool|String|Bytes)Value$/;

const int32 = [-(2 ** 31), 2 ** 31 - 1] as const;
const uint32 = [0, 2 ** 32 - 1] as const;

function isIn(value: unknown, [least, most]: readonly [number, number]): boolean {
  return Number.isInteger(value) && (value as number) >= least && (value as number) <= most;
}

function wrongScalar(scalar: ScalarType, value: unknown, isText: boolean): string | undefined {
  switch (scalar) {
    case ScalarType.STRING:
      if (typeof value !== "string") return "is not text";
      return value.isWellFormed() ? undefined : "has half a surrogate pair";
    case ScalarType.BYTES:
      return value instanceof Uint8Array ? undefined : "is not a Uint8Array";
    case ScalarType.BOOL:
      return typeof value === "boolean" ? undefined : "is not a boolean";
    case ScalarType.DOUBLE:
    case ScalarType.FLOAT:
      return typeof value === "number" ? undefined : "is not a number";
    case ScalarType.INT32:
    case ScalarType.SINT32:
    case ScalarType.SFIXED32:
      return isIn(value, int32) ? undefined : "is not an integer of 32 bits";
    case ScalarType.UINT32:
    case ScalarType.FIXED32:
      return isIn(value, uint32) ? undefined : "is not an unsigned integer of 32 bits";
    default:
      return wrongLong(scalar, value, isText);
  }
}

function wrongLong(scalar: ScalarType, value: unknown, isText: boolean): string | undefined {
  const long = isText && typeof value === "string" && /^-?\d{1,20}$/.test(value) ? BigInt(value) : value;
  if (typeof long !== "bigint") return isText ? "is not a whole number as text" : "is not a bigint";
  const unsigned = scalar === ScalarType.UINT64 || scalar === ScalarType.FIXED64;
  const fits = unsigned ? BigInt.asUintN(64, long) === long : BigInt.asIntN(64, long) === long;
  return fits ? undefined : `does not fit in ${unsigned ? "an unsigned" : "a signed"} integer of 64 bits`;
}
