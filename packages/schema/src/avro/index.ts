export { avro } from "./codec.ts";
export type { AvroCodec, AvroOptions } from "./codec.ts";
export type { AvroSchema, AvroTypeOptions } from "./schema.ts";
