import { describe, expect, test } from "vitest";
import { memory, MemoryBroker, simulation } from "@sluice/memory";
import { bench, calm, declared, group, item } from "./support/bench.ts";

describe("provision", () => {
  const driver = memory();
  const resources = driver.topology({ topics: [declared("a.b", { ordered: true, shards: 3 }), declared("a/b")] });

  test("topology is pure, and no two things have one name", () => {
    expect(resources.map(({ kind, name }) => `${kind} ${name}`)).toEqual([
      "topic a.b",
      "group a.b/billing",
      "own-entry a.b/billing/own",
      "dead-letters a.b/billing/dead-letters",
      "topic a/b",
      "group a%2Fb/billing",
      "own-entry a%2Fb/billing/own",
      "dead-letters a%2Fb/billing/dead-letters",
    ]);
  });

  test("only an ordered topic has shards", async () => {
    const settings = driver.topology({
      topics: [declared("a", { shards: 8 }), declared("b", { ordered: true, shards: 8 })],
    });
    expect(settings.filter(({ kind }) => kind === "topic").map((resource) => resource.settings)).toEqual([
      { topic: "a", ordered: false, shards: 1 },
      { topic: "b", ordered: true, shards: 8 },
    ]);
  });

  test("verify and assume create nothing, create makes only what is missing", async () => {
    const { connection, broker } = await bench([]);
    const states = async (mode: "create" | "verify" | "assume") =>
      (await connection.provision(resources.slice(0, 4), mode, calm)).map(({ state }) => state);
    expect(await states("assume")).toEqual([]);
    expect(await states("verify")).toEqual(["missing", "missing", "missing", "missing"]);
    expect(broker.topics().size).toBe(0);
    expect(await states("create")).toEqual(["created", "created", "created", "created"]);
    expect(await states("create")).toEqual([]);
    expect(await states("verify")).toEqual([]);
    expect([...broker.topics()]).toEqual([["a.b", ["billing"]]]);
  });

  test("a topic that exists with other settings is reported, and not changed", async () => {
    const { connection, send } = await bench([declared("orders", { groups: [group("billing", { retry: false })] })]);
    const wanted = driver.topology({ topics: [declared("orders", { ordered: true, shards: 2 })] });
    const findings = await connection.provision(wanted, "create", calm);
    expect(findings.map(({ resource, state }) => `${resource.kind} ${state}`)).toEqual([
      "topic differs",
      "own-entry created",
    ]);
    expect(findings[0]?.detail).toMatch(/is not ordered, declared is ordered with 2 shards/);
    expect(await send(item("1", { to: { topic: "orders", group: "billing" } }))).toEqual(["stored"]);
  });

  test("a name above the limit is refused, with both numbers", async () => {
    const { connection } = await bench([]);
    const long = driver.topology({ topics: [declared("é".repeat(128), { groups: [] })] });
    await expect(connection.provision(long, "create", calm)).rejects.toMatchObject({
      code: "CONFIG",
      message: expect.stringMatching(/256 bytes; use 1 to 255/),
    });
  });

  test("names are kept apart, whatever they look like", async () => {
    const names = ["orders", "Orders", "orders.billing", "__proto__", "a\u0000b", "o/r"];
    const { send, broker } = await bench(
      names.map((name) => declared(name, { groups: names.map((each) => group(each)) })),
    );
    await send(
      item("1", { to: { topic: "__proto__" } }),
      item("2", { to: { topic: "orders", group: "billing", deadLetter: true } }),
    );
    await send(item("3", { to: { topic: "orders", group: "orders" } }));
    const depths = names.flatMap((topic) => names.map((each) => broker.depth(topic, each).ready));
    expect(depths.reduce((sum, ready) => sum + ready, 0)).toBe(names.length + 1);
  });
});

describe("connecting", () => {
  const clock = simulation();
  const context = { runtime: clock.runtime, signal: calm, clientName: "test", report: () => undefined };

  test("connections of one driver share a broker; two drivers share one only when they are given it", async () => {
    const driver = memory();
    const [one, other] = [await driver.connect(context), await driver.connect(context)];
    expect(one.native).toBe(other.native);
    expect((await memory().connect(context)).native).not.toBe(one.native);
    const broker = new MemoryBroker();
    expect((await memory({ broker }).connect(context)).native).toBe(broker);
  });

  test("an outage cuts everybody and refuses new connections until it ends", async () => {
    const { broker, connection, connect } = await bench();
    const end = broker.outage();
    expect(await connection.closed).toMatchObject({ code: "UNAVAILABLE", retryable: true });
    await expect(connect()).rejects.toMatchObject({ code: "UNAVAILABLE" });
    end();
    await (await connect()).ping(calm);
    expect([...broker.topics().keys()]).toEqual(["orders"]);
  });

  test("a bad lease and an aborted attempt are refused", async () => {
    expect(() => memory({ leaseMs: 0 })).toThrow(/leaseMs is 0; give a positive number/);
    const aborted = { ...context, signal: AbortSignal.abort() };
    await expect(memory().connect(aborted)).rejects.toMatchObject({ code: "ABORTED" });
  });
});
