import { topic } from "@sluice/core";
import {
  type Connection,
  type Delivery,
  type Destination,
  type Driver,
  DriverError,
  emptyHeaders,
  type SendItem,
  type SendResult,
} from "@sluice/core/driver";
import { expect, onTestFinished, test } from "vitest";
import { faultyBench } from "./support/faulty-bench.ts";

const plain = topic<string>("plain", { groups: ["work"] });

/** Memory with waiting places: what is not due yet waits in a topic of its own, and somebody must move it on. */
function waitingPlaces<D extends Driver>(driver: D): D {
  const capabilities = { ...driver.capabilities, delay: { group: "forwarder", topic: "forwarder" } };
  const place = { topic: "waiting-place", group: "forwarders" } as const;
  return {
    ...driver,
    capabilities,
    topology: (declaration: Parameters<Driver["topology"]>[0]) => [
      ...driver.topology(declaration),
      ...driver.topology({
        topics: [
          {
            name: place.topic,
            ordered: false,
            shards: 1,
            delays: false,
            groups: [{ name: place.group, start: "now", retry: false, deadLetter: false }],
          },
        ],
      }),
    ],
    connect: async (context: Parameters<Driver["connect"]>[0]) => {
      const connection = await driver.connect(context);
      return Object.assign(connection, { capabilities, ...sending(connection), ...receiving(connection, place) });
    },
  };
}

function sending(connection: Connection): Pick<Connection, "sender"> {
  const open = connection.sender.bind(connection);
  const due = ({ notBefore = 0 }: SendItem) => notBefore <= now();
  const placed = (item: SendItem): SendItem => {
    if (due(item)) return { to: item.to, record: item.record };
    const headers = Object.assign(emptyHeaders(), item.record.headers, { "x-to": JSON.stringify(item.to) });
    return { ...item, to: { topic: "waiting-place" }, record: { ...item.record, headers } };
  };
  return {
    sender: async () => {
      const sender = await open();
      const send = sender.send.bind(sender);
      sender.send = async (items, signal) => {
        const error = new DriverError("NOT_FOUND", "the topic was deleted");
        const results: SendResult[] = [];
        for (const item of items) {
          if (item.to.topic === "gone" && due(item)) results.push({ outcome: "not-stored", error });
          else results.push(...(await send([placed(item)], signal)));
        }
        return results;
      };
      return sender;
    },
  };
}

let now = (): number => 0;
/** What the waiting place says of how often its messages were handed out. */
let handOuts = 1;

function receiving(
  connection: Connection,
  place: { readonly topic: string; readonly group: string },
): Pick<Connection, "receiver"> {
  const open = connection.receiver.bind(connection);
  return {
    receiver: async (sources, options) => {
      if (!sources.some((source) => "delayed" in source)) return open(sources, options);
      const receiver = await open([{ ...place, start: "now" as const }], options);
      const receive = receiver.receive.bind(receiver);
      receiver.receive = async (max, signal) => {
        const deliveries = await receive(max, signal);
        for (const delivery of deliveries ?? []) {
          const to = JSON.parse(delivery.headers["x-to"] ?? "{}") as Destination;
          const notBefore = 0;
          Object.assign(delivery, {
            source: { delayed: true },
            forward: { to, notBefore },
            deliveries: handOuts,
          } satisfies Partial<Delivery>);
        }
        return deliveries;
      };
      return receiver;
    },
  };
}

test(
  "delayed messages go on when due, also while a window full of them has no destination any more",
  { timeout: 30_000 },
  async () => {
    const { bus, clock, broker } = await faultyBench({ wrap: waitingPlaces, provision: "create" });
    now = () => clock.now();
    const seen: unknown[] = [];
    await clock.run(bus.subscribe(plain, { group: "work" }, (payload) => void seen.push(payload)));
    for (let n = 0; n < 1100; n++) {
      const headers = { "x-to": '{"topic":"gone"}', "content-type": "application/json" };
      broker.publish("waiting-place", { id: `poison-${n}`, body: new Uint8Array(), headers });
    }
    await clock.advance(10_000);
    const sent = clock.run(bus.publish(plain, "later", { delay: "5s" }));
    await sent;
    await clock.advance(4000);
    expect(seen).toEqual([]);
    await clock.advance(120_000);
    expect(seen).toEqual(["later"]);
    await clock.run(bus.close());
    expect(clock.timers).toBe(0);
  },
);

test("a delayed message is no suspect, however often those that forward died", { timeout: 30_000 }, async () => {
  const { bus, clock } = await faultyBench({ wrap: waitingPlaces, provision: "create" });
  now = () => clock.now();
  handOuts = 9;
  onTestFinished(() => void (handOuts = 1));
  const seen: unknown[] = [];
  await clock.run(bus.subscribe(plain, { group: "work" }, (payload) => void seen.push(payload)));
  await clock.run(bus.publish(plain, "later", { delay: "5s" }));
  await clock.advance(60_000);
  expect(seen).toEqual(["later"]);
  await clock.run(bus.close());
});
