// The instrumentations of the client libraries, all at once, beside @sluice/otel on real brokers: a message has our spans and no others.
import { randomUUID } from "node:crypto";
import { createRequire } from "node:module";
import type { SQSClient } from "@aws-sdk/client-sqs";
import { context, propagation, SpanKind, trace } from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import { CompositePropagator, W3CBaggagePropagator, W3CTraceContextPropagator } from "@opentelemetry/core";
import { AmqplibInstrumentation } from "@opentelemetry/instrumentation-amqplib";
import { AwsInstrumentation } from "@opentelemetry/instrumentation-aws-sdk";
import { IORedisInstrumentation } from "@opentelemetry/instrumentation-ioredis";
import { KafkaJsInstrumentation } from "@opentelemetry/instrumentation-kafkajs";
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  type ReadableSpan,
  SimpleSpanProcessor,
} from "@opentelemetry/sdk-trace-base";
import type * as AwsSqs from "@aws-sdk/client-sqs";
import type * as Amqplib from "amqplib";
import type { Redis } from "ioredis";
import type * as Kafkajs from "kafkajs";
import { connect, topic } from "@sluice/core";
import { otel } from "@sluice/otel";
import { fromUrl } from "@sluice/url";
import { afterAll, beforeEach, describe, expect, test } from "vitest";
import { type BrokerName, brokerNames, brokers, brokerUrl, type RunningBroker } from "../brokers/index.ts";

const exporter = new InMemorySpanExporter();
trace.setGlobalTracerProvider(new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }));
context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
propagation.setGlobalPropagator(
  new CompositePropagator({ propagators: [new W3CTraceContextPropagator(), new W3CBaggagePropagator()] }),
);

// n.b. they patch what is required after them; whoever imports it later gets the same, patched.
const instrumentations = [
  new AmqplibInstrumentation(),
  new AwsInstrumentation(),
  new IORedisInstrumentation({ requireParentSpan: false }),
  new KafkaJsInstrumentation(),
];
const load = createRequire(import.meta.url);
const amqplib = load("amqplib") as typeof Amqplib;
const kafkajs = load("kafkajs") as typeof Kafkajs;
const ioredis = load("ioredis") as { readonly Redis: new (url: string, options: { lazyConnect: true }) => Redis };
const sqs = load("@aws-sdk/client-sqs") as typeof AwsSqs;
load("@aws-sdk/client-sns");
afterAll(() => {
  for (const each of instrumentations) each.disable();
});
beforeEach(() => exporter.reset());

const ours = "@sluice/otel";
const shown = ({ name, kind, instrumentationScope }: ReadableSpan): string =>
  `${instrumentationScope.name}: ${SpanKind[kind]} ${name}`;

/** A client of one's own, without Sluice: proof that the instrumentation is at work in this process. */
const foreign: Readonly<Partial<Record<BrokerName, (running: RunningBroker) => Promise<void>>>> = {
  async kafka({ address }) {
    const known = address.kind === "brokers" ? [...address.brokers] : [];
    const producer = new kafkajs.Kafka({ brokers: known, logLevel: kafkajs.logLevel.NOTHING }).producer();
    await producer.connect();
    await producer.send({ topic: `foreign-${randomUUID()}`, messages: [{ value: "{}" }] }).catch(() => undefined);
    await producer.disconnect();
  },
  async rabbitmq({ address }) {
    const connection = await amqplib.connect(address.kind === "url" ? address.url : "");
    const channel = await connection.createConfirmChannel();
    const { queue } = await channel.assertQueue("", { exclusive: true });
    const handled = Promise.withResolvers<void>();
    await channel.consume(queue, (message) => {
      if (message) channel.ack(message);
      handled.resolve();
    });
    channel.publish("", queue, Buffer.from("{}"));
    await handled.promise;
    await connection.close();
  },
  async redis({ address }) {
    const client = new ioredis.Redis(address.kind === "url" ? address.url : "", { lazyConnect: true });
    await client.xadd(`foreign-${randomUUID()}`, "*", "data", "{}");
    client.disconnect();
  },
  async "sqs-sns"({ environmentVariables: { AWS_ENDPOINT_URL = "", AWS_REGION = "eu-central-1" } }) {
    const credentials = { accessKeyId: "a", secretAccessKey: "b" };
    const client: SQSClient = new sqs.SQSClient({ endpoint: AWS_ENDPOINT_URL, region: AWS_REGION, credentials });
    await client.send(new sqs.ListQueuesCommand({}));
    client.destroy();
  },
};

/** What the instrumentation makes of such a client. */
const foreignSpans: Readonly<Partial<Record<BrokerName, readonly RegExp[]>>> = {
  kafka: [/instrumentation-kafkajs: PRODUCER send foreign-/],
  rabbitmq: [/instrumentation-amqplib: PRODUCER publish <default>/, /instrumentation-amqplib: CONSUMER .* process/],
  redis: [/instrumentation-ioredis: CLIENT xadd/],
  "sqs-sns": [/instrumentation-aws-sdk: CLIENT SQS\.ListQueues/],
};

interface Seen {
  readonly at: string;
  readonly attempt: number;
  readonly traceparent: string | undefined;
}

/** A message that causes another one, which fails once; a batch; a dead letter, looked at and put back. */
async function traffic(url: string): Promise<readonly Seen[]> {
  const run = randomUUID().slice(0, 8);
  const Orders = topic<{ n: number }>(`orders-${run}`, { groups: ["billing"], shards: 1 });
  const Invoices = topic<{ n: number }>(`invoices-${run}`, { groups: ["mail"], shards: 1 });
  const telemetry = otel(await fromUrl(url), { backlogEvery: 0 });
  const bus = await connect(telemetry.driver, { middleware: telemetry.middleware });
  const seen: Seen[] = [];
  const all = Promise.withResolvers<void>();
  const letters = bus.deadLetters(Invoices, { group: "mail" });
  // One order, three of a batch; an invoice of each, of which the first fails once, and the last is given up once.
  const note = (at: string, attempt: number, headers: Readonly<Record<string, string>>) => {
    seen.push({ at, attempt, traceparent: headers["traceparent"] });
    if (seen.length === 4 + 6) all.resolve();
  };
  await bus.subscribe(Orders, { group: "billing" }, async (order, context) => {
    await context.publish(Invoices, order);
    note("billing", context.message.attempt, context.message.headers);
  });
  await bus.subscribe(Invoices, { group: "mail", retry: { attempts: 3, firstDelay: 10 } }, (invoice, context) => {
    const { attempt, headers, redrives } = context.message;
    note("mail", attempt, headers);
    if (invoice.n === 0 && attempt === 1) throw new Error("not yet");
    if (invoice.n === 3 && redrives === 0) return context.deadLetter("not now");
  });
  const given = bus.settled(Invoices, { group: "mail", fate: "dead-letter" });
  await bus.publish(Orders, { n: 0 });
  await bus.producer(Orders).sendBatch([{ payload: { n: 1 } }, { payload: { n: 2 } }, { payload: { n: 3 } }]);
  await given;
  expect((await letters.list()).letters).toMatchObject([{ reason: "rejected" }]);
  expect(await letters.redrive()).toMatchObject({ redriven: 1 });
  await all.promise;
  await bus.drain();
  return seen;
}

describe.each(brokerNames)("%s", (broker: BrokerName) => {
  let started: Awaited<ReturnType<typeof brokers>> | undefined;
  afterAll(() => started?.stopAll(), 60_000);

  test("a message has our spans only, and carries ours", { timeout: 300_000 }, async ({ skip }) => {
    started = await brokers([{ broker }]);
    const running = started.available[0] ?? skip(started.unavailable[0]?.why);
    await foreign[broker]?.(running);
    const control = exporter.getFinishedSpans().map(shown);
    for (const pattern of foreignSpans[broker] ?? []) expect(control).toContainEqual(expect.stringMatching(pattern));
    exporter.reset();
    Object.assign(process.env, running.environmentVariables);
    const seen = await traffic(brokerUrl(running));
    const spans = exporter.getFinishedSpans();
    expect(spans.map(shown).filter((text) => !text.startsWith(`${ours}:`))).toEqual([]);
    const made = spans
      .filter(({ kind }) => kind === SpanKind.PRODUCER)
      .map((span) => `00-${span.spanContext().traceId}-${span.spanContext().spanId}-01`);
    // One order, three of the batch, an invoice of each; the run after the failure has the same message.
    expect(new Set(seen.map(({ traceparent }) => traceparent))).toEqual(new Set(made));
    expect(made).toHaveLength(8);
    const handled = spans.filter(({ kind }) => kind === SpanKind.CONSUMER);
    expect(handled).toHaveLength(seen.length);
  });
});
