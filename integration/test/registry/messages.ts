import { randomUUID } from "node:crypto";
import { EventEmitter, once } from "node:events";
import { bytes, type Codec, connect, type Driver, topic, type Topic } from "@sluice/core";
import { kafka } from "@sluice/kafka";
import { memory, MemoryBroker } from "@sluice/memory";
import { avro } from "@sluice/schema/avro";
import { registered, type RegistryFetch, withPrefix } from "@sluice/schema/registry";
import { fromUrl } from "@sluice/url";
import { afterAll, describe, expect, onTestFinished, test } from "vitest";
import { type Brokers, brokers, brokerUrl } from "../../brokers/index.ts";
import {
  client,
  golden,
  goldenId,
  kafkaBrokers,
  type Order,
  orderCodec,
  qtyAsText,
  server,
  withNote,
} from "./support.ts";

/** Messages with ids, on every broker that is here. */
export function messagesSuite(): void {
  const inMemory = new MemoryBroker();
  const drivers: readonly (readonly [string, () => Driver])[] = [
    ["memory", () => memory({ broker: inMemory })],
    ["kafka", () => kafka({ brokers: kafkaBrokers })],
  ];

  describe.skipIf(!server).each(drivers)("messages on %s", (name, driver) => {
    const here = name === "memory" || kafkaBrokers.length > 0;
    const ordersOf = (codec: Codec<Order>, named = `orders-${randomUUID()}`) =>
      topic<Order>(named, { codec, groups: ["reader"], shards: 1 });

    async function open() {
      const bus = await connect(driver());
      onTestFinished(() => bus.close());
      return bus;
    }

    /** What the group of a topic gets. */
    async function reading(orders: Topic<Order>) {
      const bus = await open();
      const got: Order[] = [];
      const arrived = new EventEmitter();
      await bus.subscribe(
        orders,
        { group: "reader", concurrency: 1 },
        (order) => void (got.push(order), arrived.emit("order")),
      );
      const until = async (count: number) => {
        while (got.length < count) await once(arrived, "order");
        return got;
      };
      return { bus, until };
    }

    /** Bytes as they are, from somebody else. */
    async function foreign(
      orders: Topic<Order>,
      body: Uint8Array,
      headers: Readonly<Record<string, string>> = {},
    ): Promise<void> {
      const bus = await open();
      const raw = topic<Uint8Array>(orders.name, { codec: bytes(), groups: ["reader"], shards: 1 });
      await bus.publish(raw, body, { headers });
    }

    test.skipIf(!here).each(["prefix", "header"] as const)("there and back, with the id as %s", async (schemaId) => {
      const orders = ordersOf(orderCodec({ schemaId }));
      const { bus, until } = await reading(orders);
      await bus.publish(orders, { id: "o-1", qty: 3 });
      await bus.publish(orders, { id: "o-2", qty: 4 });
      expect(await until(2)).toEqual([
        { id: "o-1", qty: 3 },
        { id: "o-2", qty: 4 },
      ]);
    });

    test.skipIf(!here)("what an older and a newer writer wrote is read with the reader's schema", async () => {
      const orders = ordersOf(orderCodec());
      const newer = ordersOf(orderCodec({ format: avro<Order>(withNote.schema) }), orders.name);
      const [old, fresher] = [await reading(orders), await open()];
      await old.bus.publish(orders, { id: "o-1", qty: 3 });
      await fresher.publish(newer, { id: "o-2", qty: 4, note: "n" });
      expect(await old.until(2)).toEqual([
        { id: "o-1", qty: 3 },
        { id: "o-2", qty: 4 },
      ]);
      await old.bus.close();
      const late = ordersOf(newer.codec as Codec<Order>);
      const { bus, until } = await reading(late);
      await bus.publish(ordersOf(orderCodec({ subject: () => `${orders.name}-value` }), late.name), {
        id: "o-3",
        qty: 5,
      });
      expect(await until(1)).toEqual([{ id: "o-3", qty: 5, note: "" }]);
    });

    test.skipIf(!here)("a publish that is not compatible is refused, and nothing is stored", async () => {
      const orders = ordersOf(orderCodec());
      const { bus, until } = await reading(orders);
      await bus.publish(orders, { id: "o-1", qty: 3 });
      await client().setCompatibility("BACKWARD", `${orders.name}-value`);
      const changed = topic(orders.name, {
        codec: registered({ registry: client(), format: avro<{ id: string; qty: string }>(qtyAsText.schema) }),
      });
      const writer = await open();
      await expect(writer.publish(changed, { id: "o-2", qty: "4" })).rejects.toMatchObject({ code: "MISMATCH" });
      await bus.publish(orders, { id: "o-3", qty: 5 });
      expect((await until(2)).map(({ id }) => id)).toEqual(["o-1", "o-3"]);
    });

    test.skipIf(!here)(
      "an unknown id, a GUID in a registry without, and a body without an id are dead letters, with bytes and reason",
      async () => {
        const orders = ordersOf(orderCodec());
        const { bus, until } = await reading(orders);
        const unknown = withPrefix(1_999_999_999, golden);
        await foreign(orders, unknown);
        await foreign(orders, golden, { schemaid: randomUUID() });
        await foreign(orders, Buffer.from('{"id":"o-1"}'));
        await bus.publish(orders, { id: "o-2", qty: 1 });
        await until(1);
        const { letters } = await bus.deadLetters(orders, { group: "reader" }).list();
        expect(letters.map(({ body }) => Buffer.from(body ?? []))).toEqual([
          Buffer.from(unknown),
          golden,
          Buffer.from('{"id":"o-1"}'),
        ]);
        expect(letters.map(({ reason }) => reason)).toEqual(["invalid", "invalid", "invalid"]);
        expect(letters[0]?.errorMessage).toContain("has schema 1999999999, which the registry does not know");
        expect(letters[1]?.errorMessage).toContain("it does not know this call");
        expect(letters[2]?.errorMessage).toContain("looks like plain JSON");
      },
    );

    test.skipIf(!here)(
      "the registry stops: what is known flows, what is not waits, and flows when it is back",
      async () => {
        let failures = 0;
        const failed = Promise.withResolvers<void>();
        const watched: RegistryFetch = (url, request) =>
          fetch(url, request).catch((error: unknown) => {
            // Two tries of two runs: the message was held, and is tried again.
            if (++failures === 4) failed.resolve();
            throw error;
          });
        const retry = { attempts: 2, firstDelay: "50ms" } as const;
        const orders = ordersOf(orderCodec({ registry: client({ fetch: watched, retry }) }));
        const { bus, until } = await reading(orders);
        await bus.publish(orders, { id: "o-1", qty: 1 });
        await until(1);
        const other = await client().register(`${orders.name}-value`, withNote);
        const unseen = ordersOf(orderCodec({ registry: client({ retry }) }));
        await server?.stop("graceful");
        onTestFinished(() => server?.start());
        await bus.publish(orders, { id: "o-2", qty: 2 });
        await until(2);
        await expect(bus.publish(unseen, { id: "o-0", qty: 0 })).rejects.toMatchObject({
          code: "UNAVAILABLE",
          outcome: "not-stored",
        });
        await foreign(orders, withPrefix(other.id, Buffer.concat([golden, Buffer.from("\x04ab")])));
        await failed.promise;
        await server?.start();
        expect(await until(3)).toEqual([
          { id: "o-1", qty: 1 },
          { id: "o-2", qty: 2 },
          { id: "o-1", qty: 3 },
        ]);
        expect((await bus.deadLetters(orders, { group: "reader" }).list()).letters).toEqual([]);
      },
    );
  });

  // The header is text there, and the body bytes that are no text.
  describe.skipIf(!server).each(["rabbitmq", "redis", "sqs-sns", "google-pubsub"] as const)("on %s", (broker) => {
    let here: Brokers | undefined;
    afterAll(() => here?.stopAll(), 60_000);

    test("there and back, with the id as prefix and as header", { timeout: 300_000 }, async ({ skip }) => {
      here = await brokers([{ broker }]);
      const [running] = here.available;
      if (!running) return skip(here.unavailable[0]?.why);
      const bus = await connect(await fromUrl(brokerUrl(running)));
      onTestFinished(() => bus.close());
      for (const schemaId of ["prefix", "header"] as const) {
        const orders = topic<Order>(`orders-${randomUUID()}`, {
          codec: orderCodec({ schemaId }),
          groups: ["reader"],
          shards: 1,
        });
        const got = Promise.withResolvers<readonly [Order, string | undefined]>();
        await bus.subscribe(orders, { group: "reader" }, (each, { message }) =>
          got.resolve([each, message.headers["schemaid"]]),
        );
        await bus.publish(orders, { id: "o-1", qty: 3 });
        expect(await got.promise).toEqual([{ id: "o-1", qty: 3 }, schemaId === "header" ? `${goldenId}` : undefined]);
      }
    });
  });
}
