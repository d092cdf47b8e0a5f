import { DriverError } from "@sluice/core/driver";
import { expect, test } from "vitest";
import { translate } from "../src/errors.ts";
import { checkVersion } from "../src/server.ts";

const system = (code: string, message = `connect ${code} 127.0.0.1:6379`) =>
  Object.assign(new Error(message), { code });

test.each<[message: string, code: string, retryable: boolean]>([
  ["WRONGPASS invalid username-password pair or user is disabled.", "UNAUTHORIZED", false],
  ["NOAUTH Authentication required.", "UNAUTHORIZED", false],
  ["ERR AUTH <password> called without any password configured for the default user.", "UNAUTHORIZED", false],
  ["NOPERM this user has no permissions to run the 'xadd' command", "FORBIDDEN", false],
  [
    "ERR The user executing the script can't run this command or subcommand script: ab, on @user_script:3.",
    "FORBIDDEN",
    false,
  ],
  ["NOGROUP No such key 'orders' or consumer group 'g'", "NOT_FOUND", false],
  ["UNBLOCKED the stream key no longer exists", "LOST", true],
  ["WRONGTYPE Operation against a key holding the wrong kind of value", "MISMATCH", false],
  ["OOM command not allowed when used memory > 'maxmemory'.", "REFUSED", true],
  ["MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.", "REFUSED", true],
  ["LOADING Redis is loading the dataset in memory", "UNAVAILABLE", true],
  ["READONLY You can't write against a read only replica.", "UNAVAILABLE", true],
  ["CLUSTERDOWN The cluster is down", "UNAVAILABLE", true],
  ["MOVED 3999 127.0.0.1:6381", "UNAVAILABLE", true],
  ["Too many Cluster redirections. Last error: Error: MOVED 3999 127.0.0.1:6381", "UNAVAILABLE", true],
  ["CROSSSLOT Keys in request don't hash to the same slot", "CONFIG", false],
  ["ERR max number of clients reached", "UNAVAILABLE", true],
  ["ERR unknown command 'XAUTOCLAIM'", "UNSUPPORTED", false],
  ["ERR DB index is out of range", "CONFIG", false],
  ['Protocol error, got "H" as reply type byte', "CONFIG", false],
  ["Connection is closed.", "LOST", true],
  ["something nobody has seen before", "UNKNOWN", false],
])("%s", (message, code, retryable) => {
  const cause = new Error(message);
  const error = translate(cause, 'cannot send to topic "orders"');
  expect(error).toMatchObject({ code, retryable, cause });
  expect(error.message).toMatch(/^redis: cannot send to topic "orders": /);
});

test.each([
  ["ECONNREFUSED", "UNAVAILABLE"],
  ["ENOTFOUND", "UNAVAILABLE"],
  ["ECONNRESET", "UNAVAILABLE"],
  ["DEPTH_ZERO_SELF_SIGNED_CERT", "CONFIG"],
])("system error %s", (code, expected) => {
  expect(translate(system(code), "cannot connect").code).toBe(expected);
  const several = new AggregateError([system(code), system(code)]);
  expect(translate(several, "cannot connect").code).toBe(expected);
});

test("a driver error stays what it is, and a value that is no error is told", () => {
  const own = new DriverError("BUSY", "redis: busy");
  expect(translate(own, "x")).toBe(own);
  expect(translate("a text", "cannot read", "redis-pubsub").message).toBe("redis-pubsub: cannot read: a text");
});

test("what a command carried is not in its error", () => {
  const command = { name: "auth", args: ["default", "secret"] };
  const error = translate(Object.assign(new Error("WRONGPASS invalid"), { command }), "cannot connect");
  expect(JSON.stringify(error.cause)).toBe('{"command":{"name":"auth"}}');
});

test("a server that is too old is named", () => {
  expect(() => checkVersion({ name: "Redis 6.2.14", version: "6.2.14" }, "redis")).toThrow(
    "redis: the server is Redis 6.2.14; use Redis 7.0, Valkey 7.2, or newer",
  );
  for (const version of ["7.0.0", "8.0.6", "10.1.0", "9.1.2", ""]) {
    expect(() => checkVersion({ name: "", version }, "redis")).not.toThrow();
  }
});
