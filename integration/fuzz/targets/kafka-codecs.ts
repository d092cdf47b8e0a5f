import { kafkaCodecs as codecs } from "../inside.ts";
import { check, type Target } from "../target.ts";

const golden = Buffer.from(JSON.stringify({ orderId: "o-1", note: "abc".repeat(200) }));

/** Decompression of record batches: what a broker hands out may be anything that a producer wrote. */
export async function kafkaCodecs(): Promise<readonly Target[]> {
  return Promise.all(
    (["snappy", "lz4"] as const).map(async (compression): Promise<Target> => {
      const codec = await codecs.codecFor(compression);
      const bytes = await codec.compress(golden);
      return {
        name: `kafka: ${compression}`,
        golden: [{ bytes, headers: {} }],
        weight: 0.5,
        expected: (error) => error instanceof Error && !/Maximum call stack/.test(error.message),
        async run(given) {
          const out = await codec.decompress(given.bytes);
          check(out instanceof Uint8Array, "no bytes came out");
        },
      };
    }),
  );
}
