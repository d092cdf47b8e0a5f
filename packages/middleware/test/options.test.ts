import {
  cloudEvents,
  type ClaimStore,
  compress,
  correlation,
  encrypt,
  idempotent,
  inbox,
  log,
  memoryStore,
  postgresStore,
  rateLimit,
  redisStore,
  timeout,
} from "@sluice/middleware";
import { expect, test } from "vitest";

/** As JavaScript calls it: without, or with what no type allows. */
type Loose = (...given: unknown[]) => unknown;
const loose = (make: unknown) => make as Loose;
const keys = { current: "k1", get: () => undefined };
const source = "/s";
const handler = () => undefined;
const noStore: Partial<ClaimStore> = {};

test.each<[string, () => unknown]>([
  ["idempotent: the store is undefined; give memoryStore(), redisStore(client) or", () => loose(idempotent)()],
  ["idempotent: the store has no acquire, renew, complete, release; give", () => loose(idempotent)(noStore)],
  ['idempotent: key is "id"; give a function', () => loose(idempotent)(memoryStore(), { key: "id" })],
  ["inbox: the database is undefined; give a Pool of pg, PGlite", () => loose(inbox)()],
  ["inbox: the database has no connect; give a Pool of pg, PGlite", () => loose(inbox)({}, handler)],
  ["inbox: the database has no transaction;", () => loose(inbox)({ transaction: true }, handler)],
  ["inbox: there is no handler; give a function", () => loose(inbox)({ transaction: handler })],
  ["inbox: key is of type object; give a function", () => loose(inbox)({ transaction: handler }, handler, { key: {} })],
  ["redisStore: the client is undefined; give a Redis", () => loose(redisStore)()],
  ["postgresStore: the pool has no query; give a Pool", () => loose(postgresStore)({})],
  ["cloudEvents: its argument is undefined; give { source }", () => loose(cloudEvents)()],
  ['cloudEvents: mode is "x"; give one of "binary", "structured"', () => loose(cloudEvents)({ source, mode: "x" })],
  ['cloudEvents: prefix is "x_"; give one of "ce_"', () => loose(cloudEvents)({ source, prefix: "x_" })],
  ['cloudEvents: others is "refused"; give one of', () => loose(cloudEvents)({ source, others: "refused" })],
  ["cloudEvents: type is 7; give a text", () => loose(cloudEvents)({ source, type: 7 })],
  ["cloudEvents: details is of type object; give a function", () => loose(cloudEvents)({ source, details: {} })],
  ["encrypt: its argument is undefined; give { keys", () => loose(encrypt)()],
  ["encrypt: keys is undefined; give { current, get }", () => loose(encrypt)({})],
  ["encrypt: keys has no get; give { current, get }", () => loose(encrypt)({ keys: { current: "k1" } })],
  ["encrypt: keys.current is undefined; give the id", () => loose(encrypt)({ keys: { get: handler } })],
  ['encrypt: plaintext is "acept"; give one of "refuse"', () => loose(encrypt)({ keys, plaintext: "acept" })],
  ["encrypt: topics is no list of topics", () => loose(encrypt)({ keys, topics: ["cards"] })],
  ["encrypt: topics is no list of topics", () => loose(encrypt)({ keys, topics: { name: "cards" } })],
  ["rateLimit: its argument is undefined; give { limit, per }", () => loose(rateLimit)()],
  ["rateLimit: limit is undefined; give a number", () => loose(rateLimit)({ per: "1s" })],
  ["rateLimit per is undefined; give milliseconds", () => loose(rateLimit)({ limit: 1 })],
  ['rateLimit: key is "tenant"; give a function', () => loose(rateLimit)({ limit: 1, per: "1s", key: "tenant" })],
  ['log: level is "notice"; give one of "debug", "info"', () => loose(log)({ level: "notice" })],
  ['log: failureLevel is "fatal"; give one of', () => loose(log)({ failureLevel: "fatal" })],
  ['log: headers is "traceparent"; give a list', () => loose(log)({ headers: "traceparent" })],
  ["log: redact is of type object; give a list", () => loose(log)({ redact: /x/ })],
  ['correlation: from is "x-id"; give a list', () => loose(correlation)({ from: "x-id" })],
  ["timeout is undefined; give milliseconds", () => loose(timeout)()],
  ['compress: algorithm is null; use "gzip"', () => loose(compress)({ algorithm: null })],
])("%s", (message, make) => {
  const error = expect.objectContaining({ code: "CONFIG", message: expect.stringContaining(message) as string });
  expect(make).toThrow(error);
});
