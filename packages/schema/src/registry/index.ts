export type { CallOptions } from "./abortable.ts";
export type {
  CompatibilityLevel,
  CompatibilityVerdict,
  FoundSchema,
  RegisteredSchema,
  SchemaDefinition,
  SchemaReference,
  StoredSchema,
  SubjectVersion,
} from "./answers.ts";
export type { RegistryAuth } from "./auth.ts";
export { registry } from "./client.ts";
export type { Registry } from "./client.ts";
export type {
  SchemaFormat,
  SchemaReader,
  SchemaReferenceText,
  SchemaType,
  SchemaWriter,
  WriterSchema,
} from "./format.ts";
export type { RegistryFetch, RegistryOptions } from "./options.ts";
export { registered } from "./registered.ts";
export type { RegisteredOptions } from "./registered.ts";
export type { SubjectNaming } from "./subject.ts";
export {
  headerBytes,
  headerText,
  readHeaderBytes,
  readHeaderText,
  readPrefix,
  readSchemaId,
  textSchemaHeader,
  valueSchemaHeader,
  withPrefix,
} from "./wire-format.ts";
export type { SchemaId } from "./wire-format.ts";
