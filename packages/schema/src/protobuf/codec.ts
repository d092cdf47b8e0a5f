import {
  create,
  type DescMessage,
  fromBinary,
  isMessage,
  type Message,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import type { Bytes, Codec, Issue, StandardSchema, WireMessage } from "@sluice/core";
import { invalid, kindOf, reasonOf, whatOf } from "../errors.ts";
import { checkBytes, type PayloadLimits, payloadLimits } from "../limits.ts";
import { mediaType } from "../member.ts";
import { standard } from "../standard.ts";
import { pathOf } from "../unreadable.ts";
import type { SchemaFormat, SchemaReader } from "../registry/format.ts";
import { issuesOf } from "./check.ts";
import { type MessageNames, messageNames } from "./message-names.ts";
import { indexesOf, protoReferences, protoText } from "./proto-text.ts";
import { scanMessage } from "./scan.ts";

export interface ProtobufOptions {
  /** The `.proto` file that a registry gets. @default made from the descriptor, without comments and services */
  readonly schemaText?: string;
  /** `depth` is that of messages inside of each other; what Protobuf's own readers allow is 100. @default defaultPayloadLimits */
  readonly limits?: Partial<PayloadLimits>;
}

/**
 * A codec that is also a Standard Schema: give it as `codec` and as `schema`. Messages, and plain objects that
 * `create(descriptor, …)` would take, are published; handlers get messages.
 */
export interface ProtobufCodec<Desc extends DescMessage>
  extends
    Codec<MessageInitShape<Desc>>,
    StandardSchema<MessageInitShape<Desc>, MessageShape<Desc>>,
    SchemaFormat<MessageInitShape<Desc>> {
  readonly contentType: string;
  readonly descriptor: Desc;
  readonly schemaType: "PROTOBUF";
  readonly messageIndexes: readonly number[];
  encode(payload: MessageInitShape<Desc>, message: WireMessage): Bytes;
  decode(body: Bytes, message: WireMessage): MessageShape<Desc>;
}

/**
 * Protobuf, for a message of generated code (`protoc-gen-es` 2) or of a descriptor registry. 64-bit integers are bigints. Fields that
 * the descriptor does not know are kept, and written again. n.b. compare messages with `equals` of @bufbuild/protobuf.
 */
export function protobuf<Desc extends DescMessage>(
  descriptor: Desc,
  options: ProtobufOptions = {},
): ProtobufCodec<Desc> {
  const limits = payloadLimits(options.limits);
  // What came off the wire is right: its schema need not look again. Once only: a handler may change it, and publish it.
  const read = new WeakSet<Message>();
  const encode = (payload: unknown, message: WireMessage): Bytes => {
    const found = checked(descriptor, madeOf(descriptor, payload));
    if (isMessage(found)) return toBinary(descriptor, found as MessageShape<Desc>);
    throw invalid(`${whatOf("protobuf", message)} is not a ${descriptor.typeName}`, found);
  };
  const decode = (body: Bytes, message: WireMessage): MessageShape<Desc> => {
    const value = decoded(descriptor, body, message, limits);
    read.add(value);
    return value;
  };
  return {
    ...standard<MessageInitShape<Desc>, MessageShape<Desc>>("sluice", (value) => {
      const made = madeOf(descriptor, value);
      const found = isMessage(made) && read.delete(made) ? made : checked(descriptor, made);
      if (isMessage(found)) return { value: found as MessageShape<Desc> };
      return { issues: found.map(({ path, message }) => ({ path: path === "" ? [] : path.split("."), message })) };
    }),
    descriptor,
    contentType: "application/x-protobuf",
    accepts: (contentType) => mediaTypes.has(mediaType(contentType)),
    schemaType: "PROTOBUF",
    schemaText: options.schemaText ?? protoText(descriptor.file),
    name: descriptor.typeName,
    references: protoReferences(descriptor.file),
    messageIndexes: indexesOf(descriptor),
    encode,
    decode,
    write: encode,
    reader: (writer) => readerOf(descriptor, messageNames(writer.schema), decode),
    writer({ schema }) {
      const messageIndexes = messageNames(schema).indexesOf(descriptor.typeName);
      if (messageIndexes) return { messageIndexes, write: encode };
      throw new Error(`the schema has no message ${descriptor.typeName}`);
    },
  };
}

/** n.b. which message a path of indexes means is the writer's file's to say: ours may have them in another order. */
function readerOf<T>(
  { typeName }: DescMessage,
  names: MessageNames,
  decode: (body: Bytes, message: WireMessage) => T,
): SchemaReader<T> {
  return (body, message, indexes = [0]) => {
    const name = names.at(indexes);
    if (name === typeName) return decode(body, message);
    const found = name === undefined ? `there is no message ${indexes.join(".")} in its schema` : `it is a ${name}`;
    throw invalid(`${whatOf("protobuf", message)} cannot be read as ${typeName}`, [{ path: "", message: found }]);
  };
}

const mediaTypes = new Set([
  "application/x-protobuf",
  "application/protobuf",
  "application/vnd.google.protobuf",
  "application/x-google-protobuf",
]);

function checked(descriptor: DescMessage, made: Message | readonly Issue[]): Message | readonly Issue[] {
  if (!isMessage(made)) return made;
  const issues = issuesOf(descriptor, made);
  return issues.length === 0 ? made : issues;
}

/** Issues instead of a message when it is none of this type. */
function madeOf(descriptor: DescMessage, value: unknown): Message | readonly Issue[] {
  if (isMessage(value)) {
    if (value.$typeName === descriptor.typeName) return value;
    return [{ path: "", message: `${value.$typeName} is not a ${descriptor.typeName}` }];
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return [{ path: "", message: `${kindOf(value)} is not a ${descriptor.typeName}` }];
  }
  try {
    return create(descriptor, value as MessageInitShape<DescMessage>);
  } catch (error) {
    return [{ path: "", message: reasonOf(error) }];
  }
}

function decoded<Desc extends DescMessage>(
  descriptor: Desc,
  body: Bytes,
  message: WireMessage,
  limits: PayloadLimits,
): MessageShape<Desc> {
  try {
    checkBytes(body, limits);
    scanMessage(descriptor, body, limits);
    return fromBinary(descriptor, body, { recursionLimit: limits.depth });
  } catch (cause) {
    const what = `${whatOf("protobuf", message)} cannot be read as ${descriptor.typeName}`;
    throw invalid(what, [{ path: pathOf(cause), message: reasonOf(cause) }], undefined, cause);
  }
}
