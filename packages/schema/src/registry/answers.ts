import { SluiceError } from "@sluice/core";
import type { SchemaType } from "./format.ts";

/** What a schema refers to, by place: `name` is how it calls it. */
export interface SchemaReference {
  readonly name: string;
  readonly subject: string;
  readonly version: number;
}

/** A schema to be registered, looked up or checked. */
export interface SchemaDefinition {
  readonly schemaType: SchemaType;
  readonly schema: string;
  readonly references?: readonly SchemaReference[];
}

/** A schema as the registry keeps it. */
export interface StoredSchema extends SchemaDefinition {
  readonly references: readonly SchemaReference[];
}

/** Where a schema stands. Older registries do not tell everything when a schema is registered. */
export interface RegisteredSchema {
  readonly id: number;
  readonly guid: string | undefined;
  readonly version: number | undefined;
}

export interface FoundSchema extends RegisteredSchema {
  readonly version: number;
}

/** A version of a subject, with its schema. */
export interface SubjectVersion extends StoredSchema {
  readonly subject: string;
  readonly version: number;
  readonly id: number;
  readonly guid: string | undefined;
}

export type CompatibilityLevel =
  | "NONE"
  | "BACKWARD"
  | "BACKWARD_TRANSITIVE"
  | "FORWARD"
  | "FORWARD_TRANSITIVE"
  | "FULL"
  | "FULL_TRANSITIVE";

export interface CompatibilityVerdict {
  readonly compatible: boolean;
  /** What is not compatible, in the registry's words; some give none. */
  readonly messages: readonly string[];
}

const levels: ReadonlySet<unknown> = new Set<CompatibilityLevel>([
  "NONE",
  "BACKWARD",
  "BACKWARD_TRANSITIVE",
  "FORWARD",
  "FORWARD_TRANSITIVE",
  "FULL",
  "FULL_TRANSITIVE",
]);
const types: ReadonlySet<unknown> = new Set<SchemaType>(["AVRO", "JSON", "PROTOBUF"]);
const mostReferences = 1000;
export const largestId = 0x7fff_ffff;

/** An answer has the shape that the caller states, or the call fails: `what` names it. */
export function storedSchema(answer: unknown, what: string): StoredSchema {
  const { schema, schemaType = "AVRO", references } = fields(answer, what);
  if (typeof schema !== "string") throw strange(what, "schema");
  if (!isSchemaType(schemaType)) throw strange(what, "schemaType");
  return { schemaType, schema, references: referencesIn(references, what) };
}

export function registeredSchema(answer: unknown, what: string): RegisteredSchema {
  const { id, guid, version } = fields(answer, what);
  if (!isNumber(id)) throw strange(what, "id");
  return { id, guid: guidIn(guid, what), version: version === undefined ? undefined : versionIn(version, what) };
}

export function foundSchema(answer: unknown, what: string): FoundSchema {
  return { ...registeredSchema(answer, what), version: versionIn(fields(answer, what)["version"], what) };
}

export function subjectVersion(answer: unknown, what: string): SubjectVersion {
  const { subject, version } = fields(answer, what);
  if (typeof subject !== "string") throw strange(what, "subject");
  return {
    ...storedSchema(answer, what),
    ...registeredSchema(answer, what),
    subject,
    version: versionIn(version, what),
  };
}

export function verdict(answer: unknown, what: string): CompatibilityVerdict {
  // Apicurio gives one `reason` instead of `messages`.
  const { is_compatible: compatible, messages, reason } = fields(answer, what);
  if (typeof compatible !== "boolean") throw strange(what, "is_compatible");
  const given: readonly unknown[] = Array.isArray(messages) ? messages : [reason];
  return { compatible, messages: given.filter((one) => typeof one === "string") };
}

/** n.b. the answer to a read says `compatibilityLevel`, the answer to a write `compatibility`. */
export function compatibilityLevel(answer: unknown, what: string): CompatibilityLevel {
  const { compatibilityLevel: read, compatibility: written } = fields(answer, what);
  const level = read ?? written;
  if (isLevel(level)) return level;
  throw strange(what, "compatibilityLevel");
}

export function texts(answer: unknown, what: string): readonly string[] {
  if (Array.isArray(answer) && answer.every((one) => typeof one === "string")) return answer;
  throw strange(what, "list of names");
}

export function numbers(answer: unknown, what: string): readonly number[] {
  if (Array.isArray(answer) && answer.every(isNumber)) return answer;
  throw strange(what, "list of versions");
}

function referencesIn(value: unknown, what: string): readonly SchemaReference[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value) || value.length > mostReferences) throw strange(what, "references");
  return value.map((one: unknown) => {
    const { name, subject, version } = fields(one, what);
    if (typeof name !== "string" || typeof subject !== "string") throw strange(what, "references");
    return { name, subject, version: versionIn(version, what) };
  });
}

function versionIn(value: unknown, what: string): number {
  if (isNumber(value) && value > 0) return value;
  throw strange(what, "version");
}

function guidIn(value: unknown, what: string): string | undefined {
  if (value === undefined || value === null) return undefined;
  if (typeof value === "string" && /^[\da-f]{8}-(?:[\da-f]{4}-){3}[\da-f]{12}$/i.test(value))
    return value.toLowerCase();
  throw strange(what, "guid");
}

function isNumber(value: unknown): value is number {
  return typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= largestId;
}

function isSchemaType(value: unknown): value is SchemaType {
  return types.has(value);
}

function isLevel(value: unknown): value is CompatibilityLevel {
  return levels.has(value);
}

function fields(value: unknown, what: string): Readonly<Record<string, unknown>> {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw strange(what, "object");
}

function strange(what: string, field: string): SluiceError {
  const text = `registry: the answer to ${what} has no usable ${field}; check that option "url" leads to a schema registry`;
  return new SluiceError("UNKNOWN", text);
}
