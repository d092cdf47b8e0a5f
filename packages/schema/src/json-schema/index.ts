export { jsonSchema } from "./schema.ts";
export type { JsonSchemaObject, JsonSchemaOptions, JsonStandardSchema } from "./schema.ts";
