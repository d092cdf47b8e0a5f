import { context, type Context, createContextKey, propagation, ROOT_CONTEXT, trace } from "@opentelemetry/api";
import { AmqplibInstrumentation } from "@opentelemetry/instrumentation-amqplib";
import { KafkaJsInstrumentation } from "@opentelemetry/instrumentation-kafkajs";
import type { Connection, Driver } from "@sluice/core/driver";
import { memory, type MemoryCapabilities } from "@sluice/memory";
import type { Channel, ConfirmChannel, ConsumeMessage } from "amqplib";
import type { ConsumerRunConfig, EachBatchPayload, Kafka, KafkaConfig } from "kafkajs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { afterAll, beforeEach, describe, expect, test } from "vitest";
import { quiet, quietly } from "../src/quiet.ts";
import { bench, Orders } from "./support/bench.ts";
import { registerSdk } from "./support/sdk.ts";

const sdk = registerSdk();
beforeEach(() => sdk.reset());

// n.b. instrumentations patch what is required after them.
const instrumentations = [new AmqplibInstrumentation(), new KafkaJsInstrumentation()];
afterAll(() => {
  for (const each of instrumentations) each.disable();
});
const load = createRequire(import.meta.url);
type ChannelClass<C> = new (connection: object) => C & { ch: number };
load("amqplib");
const amqplib = load(join(dirname(load.resolve("amqplib")), "lib/channel_model.js")) as {
  readonly Channel: ChannelClass<Channel>;
  readonly ConfirmChannel: ChannelClass<ConfirmChannel>;
};
const kafkajs = load("kafkajs") as { readonly Kafka: new (config: KafkaConfig) => Kafka };

/** The memory driver, which also does with a real client what an adapter does. */
function beside(parts: {
  readonly send?: (headers: Readonly<Record<string, string>>) => void;
  readonly receive?: () => Promise<void>;
}): Driver<MemoryCapabilities> {
  const own = memory();
  return {
    ...own,
    connect: async (given): Promise<Connection> => {
      const connection = await own.connect(given);
      return {
        ...methodsOf(connection),
        sender: async () => {
          const sender = await connection.sender();
          return {
            closed: sender.closed,
            close: (signal) => sender.close(signal),
            send(items, signal) {
              for (const { record } of items) parts.send?.(record.headers);
              return sender.send(items, signal);
            },
          };
        },
        receiver: async (sources, options) => {
          await parts.receive?.();
          return connection.receiver(sources, options);
        },
      };
    },
  };
}

/** Without `quiet`, which would do the work of what is tested. */
function methodsOf(connection: Connection): Connection {
  const { capabilities, limits, server, native, closed } = connection;
  return {
    capabilities,
    limits,
    server,
    native,
    closed,
    provision: (...given) => connection.provision(...given),
    sender: () => connection.sender(),
    receiver: (...given) => connection.receiver(...given),
    backlog: (...given) => connection.backlog(...given),
    ping: (...given) => connection.ping(...given),
    close: (...given) => connection.close(...given),
  };
}

/** A confirm channel on no connection: what it would write is kept. */
function confirmChannel(written: unknown[]): ConfirmChannel {
  const connection = {
    sendMessage: (
      _channel: number,
      _method: number,
      _fields: object,
      _properties: number,
      { headers }: { headers: unknown },
    ) => {
      written.push(headers);
      return true;
    },
  };
  const channel = new amqplib.ConfirmChannel(connection);
  channel.ch = 1;
  return channel;
}

const publish = (channel: ConfirmChannel, headers: object) =>
  channel.publish("orders", "", Buffer.from("{}"), { headers: { ...headers } });

describe("amqplib's instrumentation beside ours", () => {
  test("a publish is one span, and the message carries it", async () => {
    const written: unknown[] = [];
    const channel = confirmChannel(written);
    const { bus, clock } = await bench({}, {}, beside({ send: (headers) => void publish(channel, headers) }));
    await clock.run(bus.subscribe(Orders, { group: "billing" }, () => undefined));
    await clock.run(bus.publish(Orders, { orderId: "o-1" }));
    await clock.run(bus.close());
    expect(sdk.spans().map(({ name }) => name)).toEqual(["send orders", "process orders"]);
    const { traceId, spanId } = sdk.finished()[0]?.spanContext() ?? {};
    expect(written).toMatchObject([{ traceparent: `00-${traceId}-${spanId}-01` }]);
  });

  test("(it is there: a client of your own is traced by it as ever)", () => {
    const written: unknown[] = [];
    publish(confirmChannel(written), { traceparent: "ours" });
    expect(written).not.toMatchObject([{ traceparent: "ours" }]);
  });

  test("its span of a delivery cannot be suppressed: our adapter's channels consume without it, others have it", () => {
    const channel = new amqplib.Channel({});
    let received: (message: ConsumeMessage | null) => void = () => undefined;
    Object.assign(channel, {
      _rpc: (_method: number, _fields: object, _expect: number, done: (error: null, answer: object) => void) =>
        done(null, { fields: { consumerTag: "c" } }),
      registerConsumer: (_tag: string, callback: typeof received) => (received = callback),
    });
    const creation = { traceId: "0af7651916cd43dd8448eb211c80319c", spanId: "b7ad6b7169203331", traceFlags: 1 };
    const headers = {};
    propagation.inject(trace.setSpanContext(ROOT_CONTEXT, creation), headers);
    const fields = { exchange: "orders", routingKey: "", deliveryTag: 1, redelivered: false, consumerTag: "c" };
    const deliver = () => received({ content: Buffer.from(""), fields, properties: { headers } } as ConsumeMessage);
    void quietly(() => channel.consume("orders.billing", () => undefined, { noAck: true }));
    quietly(deliver);
    expect(sdk.spans()).toMatchObject([{ name: "orders.billing process", parent: creation.spanId }]);
    sdk.reset();
    // What the adapter does with a channel of its own.
    const consume: object = Reflect.get(channel, "consume");
    expect(Reflect.get(consume, "__wrapped")).toBe(true);
    Reflect.set(channel, "consume", Reflect.get(consume, "__original"));
    void quietly(() => channel.consume("orders.billing", () => undefined, { noAck: true }));
    deliver();
    expect(sdk.spans()).toEqual([]);
  });
});

describe("kafkajs' instrumentation beside ours", () => {
  const kafka = new kafkajs.Kafka({ brokers: ["127.0.0.1:1"], logLevel: 0, retry: { retries: 0 } });
  const batch = {
    batch: { topic: "orders", partition: 0, messages: [{ headers: {}, key: null, value: Buffer.from("{}") }] },
  } as unknown as EachBatchPayload;

  /** What `run` of an instrumented consumer does with a batch, without a broker that sends one. */
  async function receive(): Promise<void> {
    const config: ConsumerRunConfig = { eachBatch: () => Promise.resolve() };
    // It is not connected: the run fails, after the patch.
    const running = kafka.consumer({ groupId: "billing", retry: { retries: 0 } }).run(config);
    running.catch(() => undefined);
    await config.eachBatch?.(batch);
  }

  test("adds no span to a message: a batch that was fetched is one span, without relatives", async () => {
    const { bus, clock } = await bench({}, {}, beside({ receive }));
    await clock.run(bus.subscribe(Orders, { group: "billing" }, () => undefined));
    await clock.run(bus.publish(Orders, { orderId: "o-1" }));
    await clock.run(bus.close());
    const spans = sdk.spans().map(({ name, parent }) => [name, parent]);
    expect(spans).toEqual([
      ["poll orders", undefined],
      ["send orders", undefined],
      ["process orders", "send orders"],
    ]);
  });

  test("(it is there: outside of our silence it makes a span per message)", async () => {
    await receive();
    expect(sdk.spans().map(({ name }) => name)).toEqual(["poll orders", "process orders"]);
  });

  test("a send is none of its spans", async () => {
    const producer = kafka.producer();
    const send = () => producer.send({ topic: "orders", messages: [{ value: "{}" }] }).catch(() => undefined);
    await quietly(send);
    expect(sdk.spans()).toEqual([]);
    await send();
    expect(sdk.spans().map(({ name }) => name)).toEqual(["send orders"]);
  });
});

describe("our silence", () => {
  const suppressed = createContextKey("OpenTelemetry SDK Context Key SUPPRESS_TRACING");
  const isQuiet = (at: Context = context.active()) => at.getValue(suppressed) === true;

  test("is around the client, never around a handler or what its loss aborts", async () => {
    const seen: Record<string, boolean> = {};
    const driver = beside({
      send: () => void (seen["send"] = isQuiet()),
      receive: async () => void (seen["receive"] = isQuiet()),
    });
    const { bus, clock } = await bench({}, {}, driver);
    await clock.run(bus.subscribe(Orders, { group: "billing" }, () => void (seen["handler"] = isQuiet())));
    await clock.run(bus.publish(Orders, { orderId: "o-1" }));
    await clock.run(bus.close());
    expect(seen).toEqual({ send: true, receive: true, handler: false });
  });

  test("changes nothing of what it is around, and keeps what it has not", () => {
    class Frozen {
      #calls = 0;
      readonly name = "frozen";
      readonly later?: () => void;
      constructor() {
        Object.freeze(this);
      }
      count(): number {
        return ++this.#calls;
      }
      quiet(): boolean {
        return isQuiet();
      }
    }
    const frozen = new Frozen();
    const wrapped = quiet(frozen, { count: () => frozen.count() + 100 });
    expect([wrapped.name, wrapped.count(), frozen.count(), wrapped.quiet(), frozen.quiet()]).toEqual([
      "frozen",
      101,
      2,
      true,
      false,
    ]);
    expect(wrapped.later).toBeUndefined();
    expect(wrapped).toBeInstanceOf(Frozen);
  });
});
