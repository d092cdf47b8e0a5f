import { createRequire } from "node:module";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { crc32c } from "../src/kafkajs/crc32c.ts";
import { type BatchMessage, recordBatch } from "../src/kafkajs/record-batch.ts";

// kafkajs' own decoder, which is not ours.
const require = createRequire(import.meta.url);
const Decoder = require("kafkajs/src/protocol/decoder") as new (bytes: Buffer) => unknown;
const decodeBatch = require("kafkajs/src/protocol/recordBatch/v0/decoder") as (
  decoder: unknown,
) => Promise<{ records: readonly (BatchMessage & { readonly offset: string })[]; firstSequence: number }>;

const bytes = fc.uint8Array({ maxLength: 40 }).map((one) => Buffer.from(one));
const value = fc.oneof(fc.string(), bytes);
const message: fc.Arbitrary<BatchMessage> = fc.record({
  key: fc.option(bytes),
  value: fc.option(bytes),
  timestamp: fc.integer({ min: 0, max: 4_000_000_000_000 }).map(String),
  headers: fc.dictionary(fc.string({ minLength: 1, maxLength: 5 }), fc.oneof(value, fc.array(value, { minLength: 2 }))),
});
const options = {
  producerId: 9_007_199_254_740_993n,
  producerEpoch: 3,
  firstSequence: 17,
  transactional: false,
  compression: 0,
  compress: async (records: Buffer) => records,
};

const asBytes = (one: unknown): unknown => (Array.isArray(one) ? one.map(asBytes) : Buffer.from(one as string));

describe("recordBatch", () => {
  test("is what a reader understands", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(message, { minLength: 1, maxLength: 20 }), async (messages) => {
        const batch = await recordBatch(messages, options);
        const { records, firstSequence } = await decodeBatch(new Decoder(batch));
        expect(firstSequence).toBe(17);
        expect(records.map(({ offset }) => offset)).toEqual(messages.map((_, index) => String(index)));
        for (const [index, read] of records.entries()) {
          const { key, value: body, timestamp, headers } = messages[index] ?? read;
          expect([read.key, read.value, read.timestamp]).toEqual([key, body, timestamp]);
          const wanted = Object.entries(headers).map(([name, one]) => [name, asBytes(one)]);
          expect(new Map(Object.entries(read.headers))).toEqual(new Map(wanted as [string, Buffer][]));
        }
      }),
      { numRuns: 150 },
    );
  });

  test("carries the checksum of what follows it", async () => {
    const batch = await recordBatch([{ key: null, value: Buffer.from("x"), timestamp: "1", headers: {} }], options);
    expect(batch.readUInt32BE(17)).toBe(crc32c(batch.subarray(21)));
    // The check value that the algorithm's catalogue gives, and a length that is no multiple of the table's width.
    expect(crc32c(Buffer.from("123456789"))).toBe(0xe3069283);
  });
});
