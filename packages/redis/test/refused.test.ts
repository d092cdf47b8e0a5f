import { type Delivery, DriverError, type GroupSource, type Runtime } from "@sluice/core/driver";
import { expect, test } from "vitest";
import type { Argument, Link } from "../src/client.ts";
import { type Lane, lanesOf } from "../src/lanes.ts";
import { names } from "../src/names.ts";
import { GroupReceiver } from "../src/receiver.ts";
import { leaveGroup, recover, take } from "../src/scripts/read.ts";
import { accept, giveBack } from "../src/scripts/settle.ts";
import type { Script } from "../src/scripts/script.ts";
import { beat } from "../src/scripts/shards.ts";
import { ShardSet } from "../src/shards.ts";
import { anywhere } from "../src/slots.ts";
import { Stores } from "../src/stores.ts";
import { settings } from "../src/options.ts";
import { Topics } from "../src/topics.ts";

const source: GroupSource = { topic: "t", group: "g", start: "now" };
const never = new Promise<undefined>(() => {});
const runtime: Runtime = {
  wallMs: () => 0,
  monotonicMs: () => 0,
  random: () => 0.5,
  id: () => "id",
  timer: () => () => {},
  defer: (run) => void setImmediate(run),
};

/** The stream of one shard on a server that refuses what it is told to. */
class Server {
  readonly waiting: string[] = [];
  readonly pending: string[] = [];
  refused: Script | undefined;

  readonly alive = true;
  readonly closed = never;

  async run(_doing: string, script: Script, keys: readonly string[], args: readonly Argument[]): Promise<unknown> {
    if (script === this.refused) throw new DriverError("REFUSED", "OOM command not allowed");
    if (script === beat) return [1, 7];
    if (script === take) return this.#take(keys);
    if (script === recover) return this.#recover(keys, args.slice(4));
    if (script === accept || script === giveBack) {
      this.pending.shift();
      return [1];
    }
    return script === leaveGroup ? 1 : [];
  }

  #take(keys: readonly string[]): unknown {
    return keys.slice(0, keys.length / 2).map((stream) => {
      const ids = stream === "t" ? this.waiting.splice(0) : [];
      this.pending.push(...ids);
      return [ids.map((id) => [id, ["data", id]]), "9-0"];
    });
  }

  #recover([stream]: readonly string[], inHand: readonly Argument[]): unknown {
    const ids = stream === "t" ? this.pending.filter((id) => !inHand.includes(id)) : [];
    return [ids.map((id) => [1, id, ["data", id], 2]), ""];
  }
}

function open(server: Server): GroupReceiver {
  const link = server as unknown as Link; // Only what it has is used.
  const from = names("");
  const reader: { receiver: GroupReceiver | undefined } = { receiver: undefined };
  const set = new ShardSet({
    link,
    runtime,
    consumer: "c",
    group: "g",
    leaseMs: 30_000,
    members: "m",
    meta: "x",
    leases: ["lease"],
    streams: [["t", "{t}:own:0:g"]],
    gained: (shards) => reader.receiver?.gained(shards),
    lost: (shards) => reader.receiver?.lose(shards),
    giveUp() {},
    failed() {},
  });
  let interrupted = () => {};
  reader.receiver = new GroupReceiver({
    link,
    runtime,
    group: "g",
    consumer: "c",
    leaseMs: 30_000,
    orphans: new Set(),
    shardSets: [set],
    options: { ordered: true, window: 10, windowBytes: 1e6, lost() {} },
    lanes: lanesOf(source, from, set.shards),
    together: anywhere,
    stores: new Stores({ names: from, settings: settings({}), runtime }),
    topics: new Topics(link, from, runtime),
    reader: {
      closed: never,
      read: () => new Promise((resolve) => (interrupted = () => resolve(undefined))),
      interrupt: () => interrupted(),
      close() {},
    },
    report() {},
    delayed() {},
    settled(_lane: Lane) {},
    abandoned() {},
    leave: async () => {},
  });
  return reader.receiver;
}

const ids = (deliveries: readonly Delivery[]) => deliveries.map(({ body }) => Buffer.from(body ?? []).toString());

test.each([
  ["an acceptance", accept, { accept: true } as const],
  ["a give-back", giveBack, { accept: false, release: "failed" } as const],
])("ordered: %s that a living server refuses comes again, before anything new", async (_, script, how) => {
  const server = new Server();
  server.waiting.push("1-0", "2-0");
  const receiver = open(server);
  await receiver.start();
  const { signal } = new AbortController();
  const first = await receiver.receive(10, signal);
  expect(ids(first)).toEqual(["1-0", "2-0"]);
  const [one, two] = first;
  if (!one || !two) throw new Error("nothing came");
  // The reader waits for something new meanwhile.
  const next = receiver.receive(10, signal);
  await new Promise(setImmediate);
  server.refused = script;
  expect(await receiver.settle([{ delivery: one, ...how }])).toEqual(["lost"]);
  server.refused = undefined;
  server.waiting.push("3-0");
  const again = await next;
  expect(ids(again)).toEqual(["1-0"]);
  expect(again[0]?.deliveries).toBe(2);
  expect(ids(await receiver.receive(10, signal))).toEqual(["3-0"]);
  await receiver.close(signal);
});

test("a move of which nobody knows whether it happened finishes the receiver", async () => {
  const server = new Server();
  server.waiting.push("1-0");
  const receiver = open(server);
  await receiver.start();
  const { signal } = new AbortController();
  const deliveries = await receiver.receive(10, signal);
  server.run = () => Promise.reject(new DriverError("UNAVAILABLE", "Too many Cluster redirections"));
  expect(await receiver.commit([{ accept: deliveries, send: [] }])).toEqual(["unknown"]);
  expect(await receiver.closed).toMatchObject({ code: "UNAVAILABLE" });
});
