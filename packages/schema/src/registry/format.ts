import type { Bytes, WireMessage } from "@sluice/core";

/** As registries name them. */
export type SchemaType = "AVRO" | "JSON" | "PROTOBUF";

/** A schema that another one refers to, as text, with what it refers to itself. */
export interface SchemaReferenceText {
  /** How the referring schema calls it: Avro's full name, the `$ref`, or the path of a Protobuf import. */
  readonly name: string;
  readonly schema: string;
  readonly references?: readonly SchemaReferenceText[];
}

/** A schema that was looked up in a registry, with everything that it refers to, directly or not. */
export interface WriterSchema {
  readonly schemaType: SchemaType;
  readonly schema: string;
  /** What a schema refers to stands before it, and each name once. */
  readonly references: readonly Pick<SchemaReferenceText, "name" | "schema">[];
}

/**
 * Body to payload. `messageIndexes`: Protobuf's path of the written message in the writer's file.
 * @throws SluiceError `INVALID_PAYLOAD` that names the message
 */
export type SchemaReader<T = unknown> = (body: Bytes, message: WireMessage, messageIndexes?: readonly number[]) => T;

/** How payloads are written with another version of a schema. */
export interface SchemaWriter<T = unknown> {
  /** Protobuf: where the message is in that version's file. */
  readonly messageIndexes?: readonly number[];
  write(payload: T, message: WireMessage): Bytes;
}

/** What `registered` needs of a schema: `avro(…)`, `jsonSchema(…)` and `protobuf(…)` have it. */
export interface SchemaFormat<T = unknown> {
  readonly contentType: string;
  readonly schemaType: SchemaType;
  /** Whether it reads this content type. @default the same media type as `contentType` */
  accepts?(contentType: string): boolean;
  /** The schema as the registry stores it. */
  readonly schemaText: string;
  /** Full name of record or message; `undefined` where a schema has none. */
  readonly name: string | undefined;
  readonly references?: readonly SchemaReferenceText[];
  /** Protobuf only: path of the message in its file, `[0]` for the first. */
  readonly messageIndexes?: readonly number[];
  /**
   * The body alone, without id.
   * @throws SluiceError `INVALID_PAYLOAD` that names the message
   */
  write(payload: T, message: WireMessage): Bytes;
  /** Made once per writer schema and kept. Throws when what was written with it cannot be read with this schema. */
  reader(writer: WriterSchema): SchemaReader<T>;
  /**
   * For `register: 'latest'` with Avro and Protobuf: writes as that version says. Made once per schema and kept. Throws when
   * payloads cannot be written so. Without it only a version that equals this schema is written.
   */
  writer?(schema: WriterSchema): SchemaWriter<T>;
}
