import { type BatchMessage, recordBatch } from "./record-batch.ts";

/** The parts of kafkajs' inside that are touched here. */
interface ProduceInput {
  readonly acks: number;
  readonly timeout: number;
  readonly transactionalId?: string | undefined;
  readonly producerId?: string | number | undefined;
  readonly producerEpoch: number;
  readonly compression: number;
  readonly topicData: readonly {
    readonly topic: string;
    readonly partitions: readonly {
      readonly partition: number;
      readonly firstSequence: number;
      readonly messages: readonly BatchMessage[];
    }[];
  }[];
}
interface Encoder {
  buf: Buffer;
  offset: number;
}
interface Exchange {
  readonly request: { apiVersion: number; encode(): Promise<Encoder> };
}
type MakeProduce = (input: ProduceInput) => Exchange;
/** How kafkajs finds the version of a request that a broker knows. */
export type Lookup = (apiKey: number, definition: unknown) => unknown;

/** With the codec that the requests name. */
export type Compress = (records: Buffer) => Promise<Buffer>;

const produceApiKey = 0;
/** Versions whose form this encoder writes: all that kafkajs speaks and brokers take. */
const knownVersions: ReadonlySet<number> = new Set([3, 4, 5, 6, 7]);

/** Lets produce requests be encoded by our encoder, which takes a quarter of the time of kafkajs' own. */
export function withOurEncoder(lookup: Lookup, compress: Compress): Lookup {
  return (apiKey, definition) => {
    const make = lookup(apiKey, definition);
    if (apiKey !== produceApiKey || typeof make !== "function") return make;
    return (input: ProduceInput): Exchange => {
      const exchange = (make as MakeProduce)(input);
      const { request } = exchange;
      if (!knownVersions.has(request.apiVersion)) return exchange;
      request.encode = async () => {
        // The encoder of an empty request gets our body: kafkajs tells the class of it nowhere else.
        const empty = await (make as MakeProduce)({ ...input, topicData: [] }).request.encode();
        const body = await encodeProduce(input, compress);
        return Object.assign(empty, { buf: body, offset: body.length });
      };
      return exchange;
    };
  };
}

/** `transactional_id acks timeout [topic [partition record_set]]` */
async function encodeProduce(
  { acks, timeout, transactionalId, producerId, producerEpoch, compression, topicData }: ProduceInput,
  compress: Compress,
): Promise<Buffer> {
  const options = {
    producerId: BigInt(producerId ?? -1),
    producerEpoch,
    compression,
    transactional: transactionalId !== undefined,
    compress,
  };
  const parts: Buffer[] = [nullableText(transactionalId), int16(acks), int32(timeout), int32(topicData.length)];
  for (const { topic, partitions } of topicData) {
    parts.push(nullableText(topic), int32(partitions.length));
    for (const { partition, firstSequence, messages } of partitions) {
      const batch = await recordBatch(messages, { ...options, firstSequence });
      parts.push(int32(partition), int32(batch.length), batch);
    }
  }
  return Buffer.concat(parts);
}

function nullableText(text: string | undefined): Buffer {
  if (text === undefined) return int16(-1);
  const bytes = Buffer.from(text);
  return Buffer.concat([int16(bytes.length), bytes]);
}

function int16(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(2);
  bytes.writeInt16BE(value);
  return bytes;
}

function int32(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(4);
  bytes.writeInt32BE(value);
  return bytes;
}
