// What a broker's wire shows of a trace, byte for byte: goldens are the specifications' own, not made by this code.
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { createTraceState, propagation, ROOT_CONTEXT, trace, TraceFlags } from "@opentelemetry/api";
import { CompositePropagator, W3CBaggagePropagator, W3CTraceContextPropagator } from "@opentelemetry/core";
import type { Draft } from "@sluice/core";
import { emptyHeaders, type Headers, type SendItem } from "@sluice/core/driver";
import { beforeAll, expect, test } from "vitest";
import { google, kafka, otel, rabbitmq, redis, sqs } from "../fuzz/inside.ts";

const load = createRequire(import.meta.url);
/** The client libraries' own encoders. */
const encodeKafkaHeader = load("kafkajs/src/protocol/recordBatch/header/v0") as (header: object) => { buffer: Buffer };
const { encodeTable } = load(join(dirname(load.resolve("amqplib")), "lib/codec.js")) as {
  encodeTable: (buffer: Buffer, table: object, offset: number) => number;
};

const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const traceparentHex =
  "30302d30616637363531393136636434336464383434386562323131633830333139632d623761643662373136393230333333312d3031";
const tracestate = "vendor=1";
const baggage = "userId=Am%C3%A9lie,serverNode=DF%2028,isProduction=false";

beforeAll(() => {
  const propagators = [new W3CTraceContextPropagator(), new W3CBaggagePropagator()];
  propagation.setGlobalPropagator(new CompositePropagator({ propagators }));
  return () => propagation.disable();
});

/** A record as the middleware leaves it: in a trace, with a vendor's state and with baggage. */
function item(): SendItem {
  const entries = { userId: { value: "Amélie" }, serverNode: { value: "DF 28" }, isProduction: { value: "false" } };
  const traced = trace.setSpanContext(ROOT_CONTEXT, {
    traceId: "0af7651916cd43dd8448eb211c80319c",
    spanId: "b7ad6b7169203331",
    traceFlags: TraceFlags.SAMPLED,
    traceState: createTraceState(tracestate),
  });
  const headers: Headers = emptyHeaders();
  const draft = { headers, cause: undefined } as Partial<Draft> as Draft;
  otel.inject(propagation.setBaggage(traced, propagation.createBaggage(entries)), draft, undefined);
  const record = { id: "m-1", dedupId: "m-1/0", key: null, body: Buffer.from("{}"), headers, time: 1_700_000_000_000 };
  return { to: { topic: "orders" }, record };
}

test("Kafka: record headers of UTF-8 text", () => {
  const { headers } = kafka.toKafka(item(), 1_700_000_000_000, false);
  const bytes = (key: string) => encodeKafkaHeader({ key, value: headers[key] }).buffer.toString("hex");
  // Zigzag varints of the lengths.
  expect(bytes("traceparent")).toBe(`167472616365706172656e746e${traceparentHex}`);
  expect(bytes("tracestate")).toBe(`14${hexOf("tracestate")}10${hexOf(tracestate)}`);
  expect(bytes("baggage")).toBe(`0e${hexOf("baggage")}70${hexOf(baggage)}`);
  expect(Object.keys(headers)).toEqual(["traceparent", "tracestate", "baggage", "sluice-id"]);
});

test("RabbitMQ: long strings in the table of headers", () => {
  const { headers } = rabbitmq.toNative(item().record, { longestHeaders: 60_000 }).options;
  const bytes = (...names: string[]) => {
    const buffer = Buffer.alloc(1024);
    const table = Object.fromEntries(names.map((name) => [name, headers[name]]));
    return buffer.subarray(0, encodeTable(buffer, table, 0)).toString("hex");
  };
  expect(bytes("traceparent")).toBe(`000000480b7472616365706172656e745300000037${traceparentHex}`);
  expect(bytes("tracestate", "baggage")).toBe(
    `000000${(11 + 5 + 8 + 8 + 5 + 56).toString(16)}` +
      `0a${hexOf("tracestate")}5300000008${hexOf(tracestate)}07${hexOf("baggage")}5300000038${hexOf(baggage)}`,
  );
  expect(Object.keys(headers)).toEqual(["traceparent", "tracestate", "baggage", "sluice-time"]);
});

test("SQS and SNS: message attributes of type String", () => {
  const { sluice, ...attributes } = sqs.toNative(item(), undefined).attributes;
  expect(JSON.stringify(attributes)).toBe(
    `{"traceparent":{"DataType":"String","StringValue":"${traceparent}"},` +
      `"tracestate":{"DataType":"String","StringValue":"vendor=1"},` +
      `"baggage":{"DataType":"String","StringValue":"${baggage}"}}`,
  );
  expect(sluice?.StringValue).not.toContain("trace");
});

test("Google Pub/Sub: attributes without Google's prefix", () => {
  const { attributes } = google.toNative(item(), false);
  expect(attributes).toMatchObject({ traceparent, tracestate, baggage });
  expect(Object.keys(attributes ?? {}).filter((name) => name.startsWith("goog"))).toEqual([]);
});

test("Redis Streams: in the field that has all headers; a field of its own from a foreign producer is read", () => {
  const fields = redis.toFields(item().record);
  expect(fields[fields.indexOf("sluice-headers") + 1]).toBe(JSON.stringify({ traceparent, tracestate, baggage }));
  const entry = ["traceparent", traceparent, "data", "{}"].map((text) => Buffer.from(text));
  const source = { topic: "orders", group: "billing", start: "now" } as const;
  const { headers } = redis.fromEntry("1-0", entry, {
    source,
    shard: "",
    deliveries: 1,
    fence: undefined,
    stream: "orders",
  });
  expect(headers).toEqual({ traceparent });
});

test("the driver shows nothing of Google's own names; the trace is read all the same, after a plain one", () => {
  const source = { topic: "orders", group: "billing", start: "now" } as const;
  const googles = { googclient_traceparent: traceparent, googclient_tracestate: tracestate };
  const other = `00-${"1".repeat(32)}-${"2".repeat(16)}-00`;
  const traceOf = (attributes: Record<string, string>) => {
    const { headers, native } = google.fromNative({ ackId: "a", message: { attributes } }, source, "orders~billing");
    return otel.creationOf(otel.extract(otel.carrierOf("google-pubsub", headers, native)));
  };
  const found = traceOf(googles);
  expect(found).toMatchObject({ traceId: "0af7651916cd43dd8448eb211c80319c", spanId: "b7ad6b7169203331" });
  expect(found?.traceState?.serialize()).toBe(tracestate);
  expect(traceOf({ ...googles, traceparent: other })?.spanId).toBe("2".repeat(16));
  expect(otel.carrierOf("kafka", {}, { attributes: googles })).toEqual({});
  expect(otel.carrierOf("google-pubsub", {}, undefined)).toEqual({});
});

function hexOf(text: string): string {
  return Buffer.from(text).toString("hex");
}
