import { connect, type Context, type Logger, topic } from "@sluice/core";
import { memory, MemoryBroker } from "@sluice/memory";
import {
  claimCheck,
  type ClaimStore,
  cloudEventOf,
  cloudEvents,
  compress,
  correlation,
  correlationOf,
  encrypt,
  filter,
  idempotent,
  log,
  type LogLine,
  memoryStore,
  rateLimit,
  timeout,
} from "@sluice/middleware";
import { expect, test } from "vitest";

interface Order {
  readonly orderId: string;
  readonly note: string;
}

const Orders = topic<Order>("orders", { groups: ["billing"] });
const Invoices = topic<Order>("invoices", { groups: ["mail"] });

function memoryClaims(): ClaimStore & { readonly objects: Map<string, Uint8Array> } {
  const objects = new Map<string, Uint8Array>();
  return {
    objects,
    base: "memory:claims/",
    put: (name, body) => Promise.resolve(void objects.set(name, body)),
    get: (name) => Promise.resolve(objects.get(name)),
    delete: (name) => Promise.resolve(void objects.delete(name)),
    list: async function* () {},
  };
}

/** Everything that this package has, on one bus. */
async function together() {
  const lines: LogLine[] = [];
  const write = (fields: object) => void lines.push(fields as LogLine);
  const logger: Logger = { debug: write, info: write, warn: write, error: write };
  const [store, broker, claims] = [memoryStore(), new MemoryBroker(), memoryClaims()];
  const keys = { current: "key-1", get: () => Buffer.alloc(32, 7) };
  const wanted = ({ message }: Context) => message.headers["region"] !== "test";
  const { publish, attempt } = correlation({ ambient: true });
  const bus = await connect(memory({ broker }), {
    middleware: {
      publish,
      delivery: [log({ logger }), filter(wanted), rateLimit({ limit: 10_000, per: "1s", burst: 100 })],
      attempt: [...attempt, idempotent(store), timeout("10s")],
      wire: [cloudEvents({ source: "/shop" }), compress(), encrypt({ keys }), claimCheck(claims, { threshold: 200 })],
    },
  });
  return { bus, broker, lines, claims };
}

const note = "please ring twice ".repeat(500);

test("a message passes through all of it, and through a retry, a dead letter and a redrive", async () => {
  const { bus, broker, lines, claims } = await together();
  const [runs, flows]: [number[], unknown[]] = [[], []];
  const retry = { attempts: 2, firstDelay: 1 };
  const subscription = await bus.subscribe(Orders, { group: "billing", retry }, async (order, { message }) => {
    runs.push(message.attempt);
    expect(order.note).toBe(note);
    if (message.redrives === 0) throw new Error("not yet");
    await bus.publish(Invoices, order, { id: "i-1" });
  });
  await bus.subscribe(Invoices, { group: "mail" }, (order, context) => {
    flows.push([order.orderId, correlationOf(context), cloudEventOf(context)?.["correlationid"]]);
  });

  const died = bus.settled(Orders);
  await bus.publish(Orders, { orderId: "o-1", note }, { id: "m-1" });
  expect(await died).toMatchObject({ fate: "dead-letter" });
  const letters = broker.deadLetters("orders", "billing");
  expect(JSON.stringify(letters)).not.toContain("please ring");
  expect(letters[0]?.headers).toMatchObject({ "correlation-id": "m-1", "ce-id": "m-1", encryption: "aes-256-gcm" });
  expect(claims.objects.size).toBe(0);

  const [mailed, handled] = [bus.settled(Invoices), bus.settled(Orders)];
  await bus.deadLetters(Orders, { group: "billing" }).redrive();
  expect([(await handled).fate, (await mailed).fate]).toEqual(["done", "done"]);
  expect(runs).toEqual([1, 2, 1]);
  expect(flows).toEqual([["o-1", { correlationId: "m-1", causationId: "m-1" }, "m-1"]]);

  // The same message once more, and one that nobody wants.
  for (const [headers, fate] of [
    [{}, "done"],
    [{ region: "test" }, "drop"],
  ] as const) {
    const again = bus.settled(Orders);
    await bus.publish(Orders, { orderId: "o-1", note }, { id: "m-1", headers });
    expect((await again).fate).toBe(fate);
  }
  expect(runs).toHaveLength(3);

  const ofOrders = lines.filter((line) => line.topic === "orders");
  expect(lines.filter((line) => line.topic === "invoices")).toMatchObject([{ attempt: 1, outcome: "done" }]);
  expect(ofOrders.map(({ topic: of, attempt, outcome, error }) => [of, attempt, outcome, error])).toEqual([
    ["orders", 2, "failed", "Error"],
    ["orders", 1, "done", undefined],
    ["orders", 1, "done", undefined],
    ["orders", 1, "drop", undefined],
  ]);
  expect(JSON.stringify(lines)).not.toContain("please ring");
  expect(bus.explain().split("\n")).toEqual([
    "memory out: schema > correlation > codec > cloudEvents > compress > encrypt > claimCheck > broker",
    "memory in: broker > log > filter(wanted) > rateLimit > retry and dead letter > claimCheck > encrypt > compress > cloudEvents > codec > schema > correlation > idempotent > timeout > handler",
  ]);
  expect(subscription.explain()).toContain("log > filter(wanted) > rateLimit > retry and dead letter");
  await bus.close();
});

test("what cannot be compressed goes to the store, encrypted", async () => {
  const { bus, claims } = await together();
  const random = Buffer.from(Array.from({ length: 3000 }, (_, index) => (index * 7919 * index) % 251)).toString(
    "base64",
  );
  const handled = bus.settled(Orders);
  await bus.subscribe(Orders, { group: "billing" }, (order) => expect(order.note).toBe(random));
  await bus.publish(Orders, { orderId: "o-1", note: random });
  expect((await handled).fate).toBe("done");
  expect([...claims.objects.values()].map((body) => Buffer.from(body).includes("orderId"))).toEqual([false]);
  await bus.close();
});
