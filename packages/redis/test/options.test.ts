import { Redis } from "ioredis";
import { afterEach, expect, test } from "vitest";
import { settings } from "../src/options.ts";
import { pubsubSettings } from "../src/pubsub/options.ts";

const before = process.env["REDIS_URL"];
afterEach(() => {
  if (before === undefined) delete process.env["REDIS_URL"];
  else process.env["REDIS_URL"] = before;
});

test("defaults", () => {
  delete process.env["REDIS_URL"];
  const { endpoint, leaseMs, retentionMs, maxEntries, deduplicationMs, prefix } = settings({});
  expect(endpoint).toEqual({
    host: "localhost",
    port: 6379,
    tls: false,
    database: 0,
    username: undefined,
    password: undefined,
  });
  expect({ leaseMs, retentionMs, maxEntries, deduplicationMs, prefix }).toEqual({
    leaseMs: 30_000,
    retentionMs: 60_000,
    maxEntries: undefined,
    deduplicationMs: 120_000,
    prefix: "",
  });
});

test("a url is taken apart", () => {
  expect(settings({ url: "rediss://us%40er:p%2Fw@[::1]:7000/3" }).endpoint).toEqual({
    host: "::1",
    port: 7000,
    tls: true,
    database: 3,
    username: "us@er",
    password: "p/w",
  });
  process.env["REDIS_URL"] = "redis://elsewhere";
  expect(settings({}).endpoint.host).toBe("elsewhere");
  expect(settings({ url: "redis://h", password: "given" }).endpoint.password).toBe("given");
});

const sentinel = { urls: ["redis://s:26379"], name: "m" };

test.each<[string, () => unknown, RegExp]>([
  ["no url", () => settings({ url: "secret-url" }), /url cannot be parsed/],
  ["a scheme", () => settings({ url: "http://:secret@h" }), /url begins with "http:"/],
  ["a database", () => settings({ url: "redis://:secret@h/x" }), /url names database "x"/],
  ["an encoding", () => settings({ url: "redis://:secret%zz@h" }), /percent-encoding/],
  ["two ways", () => settings({ url: "redis://h", cluster: ["redis://i"] }), /more than one of/],
  ["sentinels and a cluster", () => settings({ sentinel, cluster: ["redis://i"] }), /more than one of/],
  [
    "sentinels and a client",
    () => settings({ sentinel, client: new Redis({ lazyConnect: true }) }),
    /more than one of/,
  ],
  ["no sentinel", () => settings({ sentinel: { urls: [], name: "m" } }), /sentinel has no urls/],
  ["an empty cluster", () => settings({ cluster: [] }), /cluster is empty/],
  ["a short lease", () => settings({ leaseMs: 10 }), /leaseMs is 10; use a whole number from 500/],
  ["a fraction", () => settings({ retentionMs: 1.5 }), /retentionMs is 1.5/],
  ["an inbox", () => pubsubSettings({ inbox: 0 }), /redis-pubsub: inbox is 0/],
  ["bytes of an inbox", () => pubsubSettings({ inboxBytes: 0 }), /redis-pubsub: inboxBytes is 0/],
])("refused: %s", (_, call, text) => {
  expect(call).toThrow(expect.objectContaining({ code: "CONFIG" }));
  expect(call).toThrow(text);
  expect(call).not.toThrow(/secret/);
});

test("sentinels name the master, the url has its user and database", () => {
  const url = "redis://user:secret@ignored/2";
  expect(settings({ sentinel, url })).toMatchObject({
    sentinel: { name: "m", endpoints: [{ host: "s", port: 26_379 }] },
    endpoint: { username: "user", password: "secret", database: 2 },
  });
});

test("a client with a key prefix is refused", () => {
  const client = new Redis({ lazyConnect: true, keyPrefix: "app:" });
  expect(() => settings({ client })).toThrow(/keyPrefix "app:"; use the option prefix/);
});

test("sharded channels follow the cluster", () => {
  expect(pubsubSettings({}).sharded).toBe(false);
  expect(pubsubSettings({ cluster: ["redis://h:7000"] }).sharded).toBe(true);
  expect(pubsubSettings({ cluster: ["redis://h:7000"], sharded: false }).sharded).toBe(false);
});
