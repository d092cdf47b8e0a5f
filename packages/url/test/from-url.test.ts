import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { connect, isSluiceError, topic } from "@sluice/core";
import { describe, expect, expectTypeOf, test } from "vitest";
import { type AtMostOnceCapabilities, fromUrl, type PortableCapabilities } from "../src/index.ts";
import { schemes } from "../src/schemes.ts";

const certificate = fileURLToPath(new URL("./support/ca.pem", import.meta.url));

async function problem(url: string | undefined): Promise<string> {
  const error = await fromUrl(url, { delivery: "at-most-once" }).then(
    () => expect.unreachable(`${url} was taken`),
    (reason: unknown) => reason,
  );
  expect(isSluiceError(error) && error.code).toBe("CONFIG");
  return (error as Error).message;
}

describe("what is taken", () => {
  test.each([
    ["memory:", "memory"],
    ["memory://shared?leaseMs=5000", "memory"],
    ["kafka://localhost", "kafka"],
    [`kafka://me:pw@one:9092,two:9093?mechanism=SCRAM-SHA-512&ca=${certificate}&sessionTimeout=10000`, "kafka"],
    ["amqp://localhost", "rabbitmq"],
    ["amqp://me:pw@one,two:5673/my%2Fhost?heartbeat=5&queueType=classic&prefix=dev.", "rabbitmq"],
    [`amqps://host?ca=${certificate}`, "rabbitmq"],
    ["redis://localhost", "redis"],
    ["redis://:pw@host:6380/2?leaseMs=5000", "redis"],
    [`rediss://host?ca=${certificate}`, "redis"],
    ["redis://one,two:7001?cluster=true", "redis"],
    ["redis://one,two:7001/1?sentinel=main", "redis"],
    ["sqs://eu-central-1", "sqs-sns"],
    ["sqs:?endpoint=http://localhost:4566&prefix=dev-", "sqs-sns"],
    ["sqs://KEY:se%2Fcret@eu-central-1?visibilitySeconds=60", "sqs-sns"],
    ["pubsub://my-project?endpoint=localhost:8085", "google-pubsub"],
    ["pubsub://my-project?exactlyOnce=true", "google-pubsub"],
  ])("%s", async (url, name) => {
    const driver = await fromUrl(url);
    expect(driver.name).toBe(name);
    expect(driver.capabilities).toMatchObject({ delivery: "at-least-once", seek: "absent", transactions: "absent" });
  });

  test("redis+pubsub: only by who says that messages may be lost", async () => {
    await expect(fromUrl("redis+pubsub://localhost")).rejects.toThrow(
      /redis\+pubsub: loses messages .*delivery: 'at-most-once'/,
    );
    const driver = await fromUrl("redis+pubsub://localhost?tls=true", { delivery: "at-most-once" });
    expect(driver.capabilities).toMatchObject({ delivery: "at-most-once", group: "absent" });
  });

  test("memory://name is one broker for everybody in the process, memory: one for each", async () => {
    const seen = new Map<string, string>();
    const Greeting = topic<string>("greetings", { groups: ["guests"] });
    const here = await connect(await fromUrl("memory://hall"));
    const there = await connect(await fromUrl("memory://hall"));
    const elsewhere = await connect(await fromUrl("memory:"));
    const arrived = Promise.withResolvers<void>();
    await there.subscribe(Greeting, { group: "guests" }, (text) => {
      seen.set("hall", text);
      arrived.resolve();
    });
    await elsewhere.subscribe(Greeting, { group: "guests" }, (text) => void seen.set("elsewhere", text));
    await here.publish(Greeting, "hello");
    await arrived.promise;
    expect([...seen]).toEqual([["hall", "hello"]]);
    await Promise.all([here, there, elsewhere].map((bus) => bus.close()));
  });
});

describe("what is refused, by the part that is wrong", () => {
  test.each([
    [undefined, /^url: there is none; set one/],
    ["", /^url: there is none/],
    ["nats://host", /^url: nats: is no broker's scheme; use kafka: amqp: amqps: redis:/],
    ["kafka:", /^url: kafka: it has no host/],
    ["kafka://host/path", /kafka: it has a path, "\/path"/],
    ["kafka://host?mechanism=PLAIN", /parameter mechanism is given without a user name/],
    ["kafka://me@host", /a user name and no password/],
    ["kafka://host?ssl=yes", /parameter ssl is "yes"; use true or false/],
    [`kafka://host?ssl=false&ca=${certificate}`, /ssl is false, and a TLS parameter is given/],
    ["kafka://host?sessionTimeout=soon", /parameter sessionTimeout is "soon"; use a number/],
    ["kafka://host?sessionTimeout=9000&heartbeatInterval=8000", /heartbeatInterval/],
    ["kafka://host?brokers=x", /parameter "brokers" is unknown; there are ca, cert, clientId/],
    ["kafka://host?prefix=a&prefix=b", /parameter "prefix" is given twice/],
    ["kafka://host?__proto__=x", /parameter "__proto__" is unknown/],
    ["kafka://host?ca=/no/such.pem", /parameter ca: the file \/no\/such.pem cannot be read/],
    ["amqp://host?ca=/no/such.pem", /parameter ca: the file/],
    [`amqp://host?ca=${certificate}`, /amqp: a TLS parameter is given; begin with amqps:/],
    ["amqp://host?queueType=stream", /parameter queueType is "stream"; use quorum or classic/],
    ["amqp://host?deliveryLimit=3", /rabbitmq: deliveryLimit is 3/],
    ["redis://host/first", /path "\/first" is no database/],
    ["redis://one,two", /several hosts; say cluster=true/],
    ["redis://one?cluster=true&sentinel=main", /cluster and sentinel are given/],
    [`redis://host?ca=${certificate}`, /redis: a TLS parameter is given; begin with rediss:/],
    ["sqs://eu-central-1:443", /sqs: it has a port/],
    ["sqs://KEY@eu-central-1", /one of access key and secret key/],
    ["sqs://one,two", /sqs: it has several hosts/],
    ["pubsub://me:pw@project", /pubsub: it has a user name/],
    ["pubsub://project:8085", /pubsub: it has a port/],
    ["memory://me@here", /memory: it has a user name/],
    ["memory:?leaseMs=-1", /memory: leaseMs is -1/],
  ])("%s", async (url, message) => {
    expect(await problem(url)).toMatch(message);
  });
});

describe("the portable set", () => {
  const urls = ["memory:", "kafka://host", "amqp://host", "redis://host", "sqs://eu-central-1", "pubsub://project"];

  test.each(urls)("%s has all of it", async (url) => {
    const { capabilities } = await fromUrl(url);
    const { group, broadcast, ordered, headers, filter, delay, browse, deadLetter } = capabilities;
    for (const support of [group, broadcast, ordered, headers, filter, delay.group, delay.topic, browse, deadLetter]) {
      expect(support).not.toBe("absent");
    }
  });

  test("is the type of the bus", async () => {
    const bus = await connect(await fromUrl("memory:"));
    const Note = topic<string>("notes", { groups: ["readers"] });
    const refused = (): Promise<unknown> =>
      // @ts-expect-error not every broker has priorities
      bus.publish(Note, "x", { priority: 5 });
    const transactional = (): Promise<unknown> =>
      // @ts-expect-error not every broker has transactions
      bus.subscribe(Note, { group: "readers", transactional: true }, () => {});
    expect([refused, transactional]).toHaveLength(2);
    expectTypeOf(fromUrl("memory:")).resolves.toHaveProperty("capabilities").toEqualTypeOf<PortableCapabilities>();
    expectTypeOf(fromUrl("memory:", { delivery: "at-most-once" }))
      .resolves.toHaveProperty("capabilities")
      .toEqualTypeOf<AtMostOnceCapabilities>();
    await bus.close();
  });
});

describe("README", () => {
  const readme = readFileSync(new URL("../README.md", import.meta.url), "utf8");

  test.each([...schemes.keys()])("names every parameter of %s", async (scheme) => {
    const names = /there are (.*)$/.exec(await problem(`${scheme}//host?nonsense=1`))?.[1]?.split(", ") ?? [];
    expect(names.length).toBeGreaterThan(0);
    expect(names.filter((name) => !readme.includes(`\`${name}\``))).toEqual([]);
  });
});
