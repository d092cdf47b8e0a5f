import { emptyHeaders } from "@sluice/core/driver";
import { expect, test } from "vitest";
import type { Link } from "../src/client.ts";
import { pubsubSettings, type RedisPubsubOptions } from "../src/pubsub/options.ts";
import { PubsubSender } from "../src/pubsub/sender.ts";

/** Answers every message with the number of its listeners. */
function linkTo(listeners: number): Link {
  const link = { alive: true, closed: new Promise(() => {}), ask: async () => listeners };
  return link as unknown as Link; // Only what it has is used.
}

const record = { id: "1", dedupId: "1", key: null, body: Buffer.from("1"), headers: emptyHeaders(), time: 0 };
const cluster = ["redis://h:7000"];

test.each<[string, RedisPubsubOptions, number, string]>([
  ["one server, a listener", {}, 1, "stored"],
  ["one server, nobody", {}, 0, "unroutable"],
  ["sharded, nobody: all listeners of a shard are counted", { cluster }, 0, "unroutable"],
  ["a cluster: the listeners of the other nodes are not counted", { cluster, sharded: false }, 0, "stored"],
])("%s", async (_, options, listeners, outcome) => {
  const sender = new PubsubSender(linkTo(listeners), pubsubSettings(options), "/test");
  const { signal } = new AbortController();
  expect(await sender.send([{ to: { topic: "t" }, record }], signal)).toMatchObject([{ outcome }]);
  await sender.close(signal);
});
