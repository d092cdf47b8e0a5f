import { crc32c } from "./crc32c.ts";

/** A message as kafkajs hands it to its requests. */
export interface BatchMessage {
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly timestamp: string;
  readonly headers: Readonly<Record<string, string | Buffer | readonly (string | Buffer)[]>>;
}

export interface BatchOptions {
  readonly producerId: bigint;
  readonly producerEpoch: number;
  readonly firstSequence: number;
  readonly transactional: boolean;
  readonly compression: number;
  compress(records: Buffer): Promise<Buffer>;
}

const magic = 2;
const transactionalBit = 16;
/** First offset, length, leader epoch, magic, checksum. */
const checkedFrom = 21;
const recordsFrom = 61;

/** Messages of one partition as a record batch, version 2: one buffer, written once. kafkajs makes several for every header. */
export async function recordBatch(messages: readonly BatchMessage[], options: BatchOptions): Promise<Buffer> {
  const times = messages.map(({ timestamp }) => Number(timestamp));
  let first = Number.POSITIVE_INFINITY;
  let last = 0;
  for (const time of times) {
    if (time < first) first = time;
    if (time > last) last = time;
  }
  const plain = options.compression === 0;
  const records = encodeRecords(messages, times, first, plain ? recordsFrom : 0);
  const batch = plain ? records : Buffer.concat([Buffer.alloc(recordsFrom), await options.compress(records)]);
  batch.writeBigInt64BE(0n, 0);
  batch.writeInt32BE(batch.length - 12, 8);
  batch.writeInt32BE(0, 12);
  batch.writeInt8(magic, 16);
  batch.writeInt16BE(options.compression | (options.transactional ? transactionalBit : 0), checkedFrom);
  batch.writeInt32BE(messages.length - 1, 23);
  batch.writeBigInt64BE(BigInt(first), 27);
  batch.writeBigInt64BE(BigInt(last), 35);
  batch.writeBigInt64BE(options.producerId, 43);
  batch.writeInt16BE(options.producerEpoch, 51);
  batch.writeInt32BE(options.firstSequence, 53);
  batch.writeInt32BE(messages.length, 57);
  batch.writeUInt32BE(crc32c(batch.subarray(checkedFrom)), 17);
  return batch;
}

function encodeRecords(
  messages: readonly BatchMessage[],
  times: readonly number[],
  first: number,
  offset: number,
): Buffer {
  const sizes = messages.map((message, index) => bodySize(message, (times[index] ?? first) - first, index));
  const total = sizes.reduce((sum, size) => sum + varintSize(size) + size, offset);
  const writer = new Writer(Buffer.allocUnsafe(total), offset);
  for (const [index, { key, value, headers }] of messages.entries()) {
    writer.varint(sizes[index] ?? 0);
    writer.byte(0);
    writer.varint((times[index] ?? first) - first);
    writer.varint(index);
    writer.bytes(key);
    writer.bytes(value);
    writer.varint(headerCount(headers));
    for (const name in headers) {
      const found = headers[name] ?? "";
      if (!Array.isArray(found)) writer.header(name, found as string | Buffer);
      else for (const one of found) writer.header(name, one);
    }
  }
  return writer.buffer;
}

function bodySize({ key, value, headers }: BatchMessage, time: number, index: number): number {
  let size = 1 + varintSize(time) + varintSize(index) + sizeWithLength(key) + sizeWithLength(value);
  size += varintSize(headerCount(headers));
  for (const name in headers) {
    const found = headers[name] ?? "";
    const named = sizeWithLength(name);
    if (!Array.isArray(found)) size += named + sizeWithLength(found as string | Buffer);
    else for (const one of found) size += named + sizeWithLength(one);
  }
  return size;
}

function headerCount(headers: BatchMessage["headers"]): number {
  let count = 0;
  for (const name in headers) {
    const found = headers[name];
    count += Array.isArray(found) ? found.length : 1;
  }
  return count;
}

function sizeWithLength(value: string | Buffer | null): number {
  if (value === null) return 1;
  const length = typeof value === "string" ? Buffer.byteLength(value) : value.length;
  return varintSize(length) + length;
}

/** Of a number that is not negative, in zigzag form. */
function varintSize(value: number): number {
  let size = 1;
  for (let rest = value * 2; rest >= 128; rest = Math.floor(rest / 128)) size += 1;
  return size;
}

class Writer {
  readonly buffer: Buffer;
  #at: number;

  constructor(buffer: Buffer, at: number) {
    this.buffer = buffer;
    this.#at = at;
  }

  byte(value: number): void {
    this.buffer[this.#at++] = value;
  }

  varint(value: number): void {
    let rest = value * 2;
    for (; rest >= 128; rest = Math.floor(rest / 128)) this.buffer[this.#at++] = (rest % 128) | 128;
    this.buffer[this.#at++] = rest;
  }

  bytes(value: Buffer | null): void {
    // −1 in zigzag form.
    if (value === null) return this.byte(1);
    this.varint(value.length);
    this.#at += value.copy(this.buffer, this.#at);
  }

  text(value: string): void {
    this.varint(Buffer.byteLength(value));
    this.#at += this.buffer.write(value, this.#at);
  }

  header(name: string, value: string | Buffer): void {
    this.text(name);
    if (typeof value === "string") this.text(value);
    else this.bytes(value);
  }
}
