import { expect, test } from "vitest";
import { redis, redisPubsub } from "../src/index.ts";
import * as broadcasts from "../src/scripts/broadcast.ts";
import * as keep from "../src/scripts/keep.ts";
import * as read from "../src/scripts/read.ts";
import type { Script } from "../src/scripts/script.ts";
import * as settle from "../src/scripts/settle.ts";
import * as shards from "../src/scripts/shards.ts";
import * as store from "../src/scripts/store.ts";

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

const modules = [broadcasts, keep, read, settle, shards, store];
const scripts = modules.flatMap((module) => Object.entries(module)).filter(([, each]) => isScript(each));

function isScript(each: unknown): each is Script {
  return typeof each === "object" && each !== null && "lua" in each;
}

test.each(scripts as [string, Script][])("the plan grants what the script %s calls", (_, { lua, commands }) => {
  const granted = redis()
    .topology({ topics: [topic] })
    .flatMap(({ actions }) => Object.values(actions ?? {}).flat());
  expect(granted).toEqual(expect.arrayContaining(commands.map((command) => `+${command}`)));
  // A call whose command is computed would be in nobody's plan.
  const calls = lua.match(/\bp?call\(/g) ?? [];
  expect(lua.match(/redis\.p?call\('[A-Z]+'/g)).toHaveLength(calls.length);
  expect(commands.filter((command) => command.endsWith("|"))).toEqual([]);
});

test("roles are parted: who publishes reads nothing, who provisions neither", () => {
  const [, , stream, reader] = redis().topology({ topics: [topic] });
  expect(stream?.actions?.["publish"]).not.toContain("+xreadgroup");
  expect(stream?.actions?.["provision"]).not.toContain("+xreadgroup");
  expect(reader?.actions?.["consume"]).toEqual(
    expect.arrayContaining([
      "+time",
      "+type",
      "+zadd",
      "+pexpire",
      "+xinfo|groups",
      "+xgroup|setid",
      "+client|unblock",
    ]),
  );
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
