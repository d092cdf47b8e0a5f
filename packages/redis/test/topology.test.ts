import { expect, test } from "vitest";
import { redis, redisPubsub } from "../src/index.ts";

const group = { name: "billing", start: "now", retry: true, deadLetter: true } as const;
const topic = { name: "orders", ordered: true, shards: 4, delays: true, groups: [group] };

test("what must exist for an ordered topic with a group", () => {
  const resources = redis({ prefix: "shop." }).topology({ topics: [topic] });
  expect(resources.map(({ kind, name, settings }) => ({ kind, name, settings }))).toMatchInlineSnapshot(`
    [
      {
        "kind": "server",
        "name": "eviction",
        "settings": {
          "maxmemory-policy": "noeviction",
        },
      },
      {
        "kind": "server",
        "name": "persistence",
        "settings": {
          "appendonly": true,
        },
      },
      {
        "kind": "stream",
        "name": "shop.orders",
        "settings": {
          "ordered": true,
          "shards": 4,
          "topic": "orders",
        },
      },
      {
        "kind": "group",
        "name": "shop.orders billing",
        "settings": {
          "group": "billing",
          "ordered": true,
          "shards": 4,
          "start": "now",
          "topic": "orders",
        },
      },
      {
        "kind": "own-entry",
        "name": "{shop.orders}:own:0:billing",
        "settings": {
          "group": "billing",
          "ordered": true,
          "shards": 4,
          "topic": "orders",
        },
      },
      {
        "kind": "dead-letters",
        "name": "{shop.orders}:dlq:billing",
        "settings": {
          "group": "billing",
          "topic": "orders",
        },
      },
    ]
  `);
});

test("nothing is declared, nothing is needed", () => {
  expect(redis().topology({ topics: [] })).toEqual([]);
});

test("server settings are shared, everything else has one owner", () => {
  const resources = redis().topology({ topics: [topic, { ...topic, name: "orders.own", groups: [group] }] });
  const own = resources.filter(({ shared }) => !shared).map(({ kind, name }) => `${kind} ${name}`);
  expect(new Set(own).size).toBe(own.length);
  expect(resources.filter(({ shared }) => shared).map(({ name }) => name)).toEqual(["eviction", "persistence"]);
});

test("too many shards are refused", () => {
  expect(() => redis().topology({ topics: [{ ...topic, shards: 2_000 }] })).toThrow(/2000 shards; 1024 is the most/);
});

test("channels are only named, with the rights on them", () => {
  expect(redisPubsub({ prefix: "shop.", sharded: true }).topology({ topics: [topic] })).toEqual([
    {
      kind: "channel",
      name: "shop.orders",
      settings: { sharded: true },
      actions: { publish: ["+spublish"], consume: ["+ssubscribe", "+sunsubscribe"] },
    },
  ]);
});
