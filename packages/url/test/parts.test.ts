import { describe, expect, test } from "vitest";
import { split } from "../src/parts.ts";

const secret = "s3cret";

function problem(url: string): string {
  try {
    split(url);
  } catch (error) {
    return (error as Error).message;
  }
  throw new Error(`${url} was taken`);
}

describe("split", () => {
  test("takes a URL apart, with several hosts, ports and a query", () => {
    const parts = split("Kafka://me:p%40ss%2F@one:9092,two,[::1]:9093/some%20path?a=1&b=x%26y");
    expect({ ...parts, query: [...parts.query] }).toEqual({
      scheme: "kafka:",
      username: "me",
      password: "p@ss/",
      hosts: [
        { name: "one", port: 9092 },
        { name: "two", port: undefined },
        { name: "[::1]", port: 9093 },
      ],
      path: "some path",
      query: [
        ["a", "1"],
        ["b", "x&y"],
      ],
    });
  });

  test("takes a host for a scheme where the scheme is missing: the next step refuses it by name", () => {
    expect(split("localhost:9092/x").scheme).toBe("localhost:");
  });

  test("takes a scheme alone, and a password with a colon", () => {
    expect(split("memory:").hosts).toEqual([]);
    expect(split(`redis://me:a:b@host`).password).toBe("a:b");
    expect(split("redis://:only@host")).toMatchObject({ username: undefined, password: "only" });
  });

  test.each([
    ["//host", /it has no scheme; begin with one/],
    ["kafka://a:0", /the port of host "a" is "0"; use a number from 1 to 65535/],
    ["kafka://a:99999", /the port of host "a" is "99999"/],
    ["kafka://a:b:c", /host "a:b:c" is no name|the port of host "a" is "b:c"/],
    ["kafka://a,,b", /host "" is no name or address/],
    ["kafka://a b", /host "a b" is no name/],
  ])("%s: names the wrong part", (url, message) => {
    expect(problem(url)).toMatch(message);
  });

  test.each([
    `amqp://me:${secret}/x@host`,
    `amqp://me:${secret}?x@host`,
    `amqp://me:${secret}#x@host`,
    `amqp://me:${secret}@x@host`,
    `amqp://me:${secret}%zz@host`,
  ])("%s: a password that is not encoded is refused, and not shown", (url) => {
    expect(problem(url)).toMatch(/password/);
    expect(problem(url)).not.toContain(secret);
  });
});
