import { type Bytes, type Codec, isSluiceError, SluiceError, UnavailableError, type WireMessage } from "@sluice/core";
import { reasonOf, whatOf } from "../errors.ts";
import type { PayloadLimits } from "../limits.ts";
import { mediaType } from "../member.ts";
import type { Registry } from "./client.ts";
import type { SchemaFormat } from "./format.ts";
import { Readers } from "./readers.ts";
import type { SubjectNaming } from "./subject.ts";
import {
  headerBytes,
  headerText,
  readSchemaId,
  type SchemaId,
  textSchemaHeader,
  valueSchemaHeader,
  withPrefix,
} from "./wire-format.ts";
import { type Writer, Writers } from "./writers.ts";

export interface RegisteredOptions<T> {
  readonly registry: Registry;
  /** `avro(…)`, `jsonSchema(…)`, `protobuf(…)`. */
  readonly format: SchemaFormat<T>;
  /** @default 'topic' */
  readonly subject?: SubjectNaming;
  /**
   * - `auto`: registers the schema at the first publish.
   * - `never`: it must be there already.
   * - `latest`: publishes with the subject's newest version, whatever it is (Avro is written with it).
   * @default 'auto'
   */
  readonly register?: "auto" | "never" | "latest";
  /**
   * - `prefix`: in front of the body, which every Kafka client understands.
   * - `header`: the body stays bare. On Kafka `__value_schema_id` with the GUID (with the id where the registry has no GUIDs), which
   *   clients since 2025 understand; on other brokers `schemaid` as text.
   * Both are always read.
   * @default 'prefix'
   */
  readonly schemaId?: "prefix" | "header";
  /**
   * What a writer's schema may be, with all that it refers to, before it is compiled. @default 512 KiB, 200 levels, 10,000 elements
   */
  readonly schemaLimits?: Partial<PayloadLimits>;
}

const prefixed = { AVRO: "avro", JSON: "json-schema", PROTOBUF: "protobuf" } as const;

/**
 * A codec whose messages carry the id of the schema that they were written with. Readers look it up and read with their own.
 *
 * Reading: while the registry does not answer, the message waits (nothing is counted); an id that the registry does not know or cannot
 * give, a body without an id and a schema that cannot be read as ours are `INVALID_PAYLOAD`, a dead letter.
 * Writing: `UNAVAILABLE` while the registry does not answer, `NOT_FOUND` (`never`, `latest`) when the schema is not there,
 * `MISMATCH` when it is not compatible; nothing was stored. What was looked up once needs no registry any more.
 */
export function registered<T>(options: RegisteredOptions<T>): Codec<T> {
  const { format, schemaId = "prefix" } = options;
  const writers = new Writers(options);
  const readers = new Readers(options);
  const framed = `application/vnd.confluent.${prefixed[format.schemaType]}`;
  return {
    contentType: schemaId === "prefix" ? framed : format.contentType,
    accepts: (given) => accepts(given, framed, format),
    encode(payload, message) {
      const frame = schemaId === "prefix" ? withId : withHeader;
      const known = writers.known(message.topic);
      if (known) return frame(known, payload, message);
      return forPublish(writers.writer(message.topic)).then((writer) => frame(writer, payload, message));
    },
    decode(body, message) {
      const found = idOf(body, message, format);
      const known = readers.known(found);
      if (known) return known(found.body, message, found.messageIndexes);
      return readers.reader(found).then(
        (reader) => reader(found.body, message, found.messageIndexes),
        (error: unknown) => refuse(error, found, message),
      );
    },
  };
}

/** The bytes say what they are: a general content type of a foreign producer is as good as none. */
function accepts(given: string, contentType: string, format: SchemaFormat): boolean {
  const type = mediaType(given);
  if (type === "application/octet-stream" || type === contentType) return true;
  return format.accepts?.(given) ?? type === mediaType(format.contentType);
}

function withId<T>(writer: Writer<T>, payload: T, message: WireMessage): Bytes {
  const { headers } = message;
  // They may come from a message that was read: readers believe a header more than a prefix.
  delete headers[valueSchemaHeader];
  delete headers[textSchemaHeader];
  return withPrefix(writer.id, writer.write(payload, message), writer.messageIndexes);
}

function withHeader<T>(writer: Writer<T>, payload: T, message: WireMessage): Bytes {
  const { headers, system } = message;
  const { guid, id, messageIndexes } = writer;
  const place: SchemaId = { ...(guid === undefined ? { id } : { guid }), ...(messageIndexes && { messageIndexes }) };
  delete headers[valueSchemaHeader];
  delete headers[textSchemaHeader];
  if (system === "kafka") headers[valueSchemaHeader] = Buffer.from(headerBytes(place)).toString("hex");
  else headers[textSchemaHeader] = headerText(place);
  return writer.write(payload, message);
}

function idOf(body: Bytes, message: WireMessage, format: SchemaFormat): SchemaId & { readonly body: Bytes } {
  try {
    return readSchemaId(body, message.headers, format.schemaType === "PROTOBUF");
  } catch (error) {
    throw invalid(error, message, "");
  }
}

/** What the registry has against this one id, and what cannot be read, are final; everything else may pass. */
function refuse(error: unknown, found: SchemaId, message: WireMessage): never {
  const id = found.guid ?? found.id;
  if (isSluiceError(error, "NOT_FOUND")) {
    throw invalid(error, message, ` has schema ${id}, which the registry does not know`);
  }
  if (isSluiceError(error) && error.code !== "INVALID_PAYLOAD")
    throw new UnavailableError(error.message, { cause: error });
  throw invalid(error, message, ` with schema ${id}`);
}

function invalid(error: unknown, message: WireMessage, detail: string): SluiceError {
  const issues = isSluiceError(error) ? error.issues : [];
  const text = `${whatOf("registry", message)}${detail}: ${reasonOf(error).replace(/^registry: /, "")}`;
  return new SluiceError("INVALID_PAYLOAD", text, { issues, cause: error });
}

/** An outage is one for the publisher, too; and nothing was stored in any case. */
async function forPublish<V>(work: Promise<V>): Promise<V> {
  try {
    return await work;
  } catch (error) {
    if (!isSluiceError(error)) throw error;
    const { code, issues, message } = error;
    if (code === "UNAVAILABLE") throw new UnavailableError(message, { cause: error });
    throw new SluiceError(code, message, { issues, outcome: "not-stored", cause: error });
  }
}
