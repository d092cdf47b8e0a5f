import { brotliCompressSync, gzipSync, zstdCompressSync } from "node:zlib";
import type { Context, WireMessage, WireMiddleware } from "@sluice/core";
import { cloudEvents, compress, encrypt } from "@sluice/middleware";
import { type Claims, openClaims } from "../claims.ts";
import { check, sample, type Sample, type Target, type TextHeaders, typed } from "../target.ts";
import { wireOf } from "./core.ts";

const topic = "orders";
const payload = Buffer.from(JSON.stringify({ orderId: "o-1", note: "x".repeat(2000) }));

/** What a handler's context has of a message; wire middleware looks at nothing else. */
function contextOf({ headers, id, key }: WireMessage): Context {
  const message = { topic, id, key, headers, time: undefined, attempt: 1, deliveries: 1, redrives: 0 };
  return { message, group: "billing", native: undefined } as unknown as Context;
}

function reader(middleware: WireMiddleware, golden: Target["golden"], more: Partial<Target> = {}): Target {
  return {
    name: `middleware: ${middleware.name}`,
    golden,
    expected: typed,
    run(given) {
      const message = wireOf(given, topic, ["kafka", "rabbitmq", "aws_sqs", "gcp_pubsub", "memory"][given.seed % 5]);
      const done = middleware.incoming?.(message, contextOf(message));
      return done instanceof Promise ? done.then(() => checkMessage(message, given)) : checkMessage(message, given);
    },
    ...more,
  };
}

/** Nothing that comes out may be much larger than what a handler is ready for. */
function checkMessage({ body, headers }: WireMessage, { bytes }: Sample): void {
  check(body === null || body instanceof Uint8Array, "the body is neither bytes nor nothing");
  const most = Math.max(1024 * 1024, bytes.byteLength * 200);
  check((body?.byteLength ?? 0) <= most, `${bytes.byteLength} bytes became ${body?.byteLength}`);
  for (const [name, value] of Object.entries(headers))
    check(typeof value === "string", `header "${name}" is ${typeof value}`);
}

/** What the middleware itself writes for a message. */
async function written(
  middleware: WireMiddleware,
  headers: TextHeaders = {},
  body: Buffer = payload,
  system = "memory",
): Promise<Pick<Sample, "bytes" | "headers">> {
  const message = wireOf({ bytes: body, headers, seed: 0 }, topic, system);
  await middleware.outgoing?.(message);
  return { bytes: Buffer.from(message.body ?? []), headers: { ...message.headers } };
}

const json = { "content-type": "application/json" };
const zeros = Buffer.alloc(8 * 1024 * 1024);
const secret = { current: "key-1", get: (id: string) => (id === "key-1" ? Buffer.alloc(32, 7) : undefined) };

export async function wireTargets(): Promise<readonly Target[]> {
  const [packing, sealing] = [compress(), encrypt({ keys: secret })];
  const events = cloudEvents({ source: "/orders" });
  const claims = await openClaims();
  const event = { ...json, "correlation-id": "c-1", "content-type": "application/json" };
  const bombs = [
    { bytes: gzipSync(zeros), headers: { ...json, "content-encoding": "gzip" } },
    { bytes: brotliCompressSync(zeros), headers: { ...json, "content-encoding": "br" } },
    { bytes: gzipSync(gzipSync(zeros)), headers: { ...json, "content-encoding": "gzip, gzip" } },
    ...(zstdCompressSync ? [{ bytes: zstdCompressSync(zeros), headers: { ...json, "content-encoding": "zstd" } }] : []),
  ];
  const packed = await Promise.all(
    (["gzip", "brotli", "zstd"] as const).map((algorithm) => written(compress({ algorithm }), json)),
  );
  return [
    reader(packing, [...packed, ...bombs], { names: ["content-encoding"], weight: 0.6 }),
    reader(sealing, [await written(sealing, json)], { names: ["encryption", "encryption-key"] }),
    reader(claims.middleware, [claims.golden], { names: ["dataref", "content-type"] }),
    reader(
      events,
      await Promise.all(
        ["kafka", "rabbitmq", "aws_sqs", "gcp_pubsub"].map((system) =>
          written(events, event, payload.subarray(0, 40), system),
        ),
      ),
      { names: ["ce_id", "ce_type", "ce-time", "cloudEvents_source", "ce-specversion", "content-type"], weight: 1.5 },
    ),
    batch(events),
    fileNames(claims),
  ];
}

/** The input is the name of a file that somebody made up, or one that no folder can have. */
function fileNames({ middleware, golden, payload: stored, claim, hostileNames, close }: Claims): Target {
  const { dataref = "" } = golden.headers;
  const names = [dataref.slice("claim:".length), ...hostileNames];
  return {
    name: "middleware: fileClaims",
    golden: names.map((name) => sample(name)),
    weight: 0.5,
    expected: typed,
    async run({ bytes, seed }) {
      // Half of them as they are: what is damaged is hardly a name any more.
      const name = seed % 2 === 0 ? bytes.toString() : names[(seed >>> 1) % names.length];
      const message = wireOf({ bytes: claim(name ?? ""), headers: golden.headers, seed }, topic, "memory");
      await middleware.incoming?.(message, contextOf(message));
      check(Buffer.compare(message.body ?? Buffer.alloc(0), stored) === 0, "something else was read from the store");
    },
    close: () => Promise.resolve(close()),
  };
}

/** Golden examples of other programs. */
function batch(events: WireMiddleware): Target {
  const structured = (event: object) =>
    sample(JSON.stringify(event), { "content-type": "application/cloudevents+json; charset=utf-8" });
  const plain = { specversion: "1.0", id: "1", source: "/s", type: "t" };
  return reader(
    events,
    [
      structured({ ...plain, datacontenttype: "application/json", data: { a: [1, 2, { b: null }] } }),
      structured({ ...plain, datacontenttype: "text/xml", data: "<a/>", subject: "s", time: "2018-04-05T17:31:00Z" }),
      structured({ ...plain, data_base64: "AAEC/w==", comexampleextension1: "value", comexampleothervalue: 5 }),
      sample(JSON.stringify([plain]), { "content-type": "application/cloudevents-batch+json" }),
    ],
    { name: "middleware: cloudEvents, structured" },
  );
}
