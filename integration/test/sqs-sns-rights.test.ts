// Credentials that expire, rights that are missing, and whether the planned rights are enough. The emulator takes any credentials,
// so a front stands before it.
import { randomUUID } from "node:crypto";
import { type Bus, connect, type ConnectOptions, isSluiceError, nodeRuntime, topic, type Topic } from "@sluice/core";
import type { Role } from "@sluice/core/driver";
import { sqsSns, type SqsSnsOptions } from "@sluice/sqs-sns";
import { startFauxqs } from "fauxqs";
import { declarationOf, fulfil } from "../harnesses/duties.ts";
import { type Asked, openSqsFront, type SqsFront } from "../harnesses/sqs-front.ts";
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test, vi } from "vitest";

interface Tick {
  readonly n: number;
}

const patience = { timeout: 20_000, interval: 20 };
let emulator: Awaited<ReturnType<typeof startFauxqs>>;
let front: SqsFront;
let endpoint = "";
/** What was asked with which key; and what it is refused with. */
let asked: (Asked & { readonly refused: string | undefined })[] = [];
let refusal: (asked: Asked) => string | undefined = () => undefined;

beforeAll(async () => {
  emulator = await startFauxqs({ port: 0, host: "127.0.0.1", logger: false });
  front = await openSqsFront({ host: "127.0.0.1", port: emulator.port }, (one) => {
    const refused = refusal(one);
    asked.push({ ...one, refused });
    return refused;
  });
  ({ endpoint } = front);
});

afterAll(async () => {
  front.close();
  await emulator.stop();
});

beforeEach(() => {
  asked = [];
  refusal = () => undefined;
});

function named(): Topic<Tick, Tick> {
  return topic<Tick>(`rights-${randomUUID().slice(0, 8)}`, { groups: ["g"], ordering: "none" });
}

async function open(options: SqsSnsOptions = {}, connecting: ConnectOptions = {}): Promise<Bus> {
  const credentials = { accessKeyId: "KEY", secretAccessKey: "secret" };
  const driver = sqsSns({ endpoint, credentials, waitSeconds: 1, visibilitySeconds: 4, ...options });
  const bus = await connect(driver, connecting);
  onTestFinished(() => bus.close());
  return bus;
}

describe("credentials that expire", () => {
  /** KEY1 until it is renewed; `ill`: nobody gives new ones. */
  function provider() {
    const given = { asked: 0, ill: false, generation: 1 };
    const credentials = async () => {
      given.asked++;
      if (given.ill) throw new Error("the token service does not answer");
      return { accessKeyId: `KEY${given.generation}`, secretAccessKey: "secret" };
    };
    return { given, credentials };
  }

  test("are asked for again when the service refuses them, and nobody sees it", async () => {
    const { given, credentials } = provider();
    const bus = await open({ credentials });
    const ticks = named();
    const handled = new Set<number>();
    await bus.subscribe(ticks, { group: "g" }, ({ n }) => void handled.add(n));
    await bus.publish(ticks, { n: 0 });
    expect(given.asked).toBe(1);
    given.generation = 2;
    refusal = ({ key }) => (key === "KEY1" ? "ExpiredToken" : undefined);
    const numbers = Array.from({ length: 100 }, (_, n) => n);
    await Promise.all(numbers.map((n) => bus.publish(ticks, { n })));
    await vi.waitFor(() => expect(handled.size).toBe(100), patience);
    expect(asked.some(({ refused }) => refused !== undefined)).toBe(true);
    // Each of the five clients may ask once.
    expect(given.asked).toBeLessThanOrEqual(6);
  });

  test("and are not renewed for a while: UNAUTHORIZED while it lasts, nothing is lost, and all of it goes on", async () => {
    const { given, credentials } = provider();
    const bus = await open({ credentials });
    const ticks = named();
    const handled = new Set<number>();
    const numbers = Array.from({ length: 50 }, (_, n) => n);
    const subscription = await bus.subscribe(ticks, { group: "g" }, ({ n }) => void handled.add(n));
    const before = Promise.all(numbers.map((n) => bus.publish(ticks, { n })));
    await before;
    given.ill = true;
    refusal = ({ key }) => (key === "KEY1" ? "ExpiredToken" : undefined);
    const early = await bus.publish(ticks, { n: -1 }, { deadline: 500 }).catch((reason: unknown) => reason);
    // It is tried again until its deadline; a try that is on its way then has no answer yet.
    expect([
      ["UNAUTHORIZED", "not-stored"],
      ["TIMEOUT", "unknown"],
    ]).toContainEqual(isSluiceError(early) ? [early.code, early.outcome] : early);
    const during = Promise.all(numbers.map((n) => bus.publish(ticks, { n: 50 + n })));
    await vi.waitFor(() => expect(bus.health().publish.lastError).toMatchObject({ code: "UNAUTHORIZED" }), patience);
    await vi.waitFor(() => {
      expect(subscription.health()).toMatchObject({ state: "reconnecting", error: { code: "UNAUTHORIZED" } });
    }, patience);
    given.generation = 2;
    given.ill = false;
    await during;
    await vi.waitFor(() => expect(handled.size).toBe(100), patience);
    await vi.waitFor(() => expect(subscription.health()).toMatchObject({ state: "live", error: undefined }), patience);
    expect([...handled].toSorted((one, other) => one - other)).toEqual([...numbers, ...numbers.map((n) => 50 + n)]);
    expect(given.asked).toBeLessThan(100);
  }, 60_000);
});

describe("no right", () => {
  const denied = (...actions: readonly string[]) => {
    refusal = ({ action }) => (actions.includes(action) ? "AccessDenied" : undefined);
  };

  test("to publish: FORBIDDEN, naming the topic, not stored; and what the role has to be given", async () => {
    const bus = await open();
    const ticks = named();
    denied("Publish", "PublishBatch");
    await expect(bus.publish(ticks, { n: 1 })).rejects.toMatchObject({
      code: "FORBIDDEN",
      outcome: "not-stored",
      message: expect.stringMatching(new RegExp(`topic "${ticks.name}".*plan\\(\\)`)),
    });
  });

  test.each([
    ["CreateTopic", (name: string) => `topic "${name}"`],
    ["CreateQueue", (name: string) => `queue "${name}_to-g`],
    ["Subscribe", (name: string) => `subscription "${name}_to-g"`],
  ])("to %s: FORBIDDEN, naming the resource", async (action, what) => {
    const bus = await open();
    const ticks = named();
    denied(action);
    await expect(bus.subscribe(ticks, { group: "g" }, () => {})).rejects.toMatchObject({
      code: "FORBIDDEN",
      message: expect.stringContaining(what(ticks.name)),
    });
  });

  test.each(["ReceiveMessage", "DeleteMessageBatch"])(
    "to %s: the subscription says FORBIDDEN, naming the queue, and goes on once it has it",
    async (action) => {
      const bus = await open();
      const ticks = named();
      const handled = new Set<number>();
      const subscription = await bus.subscribe(ticks, { group: "g" }, ({ n }) => void handled.add(n));
      denied(action);
      await bus.publish(ticks, { n: 1 });
      await vi.waitFor(() => {
        expect(subscription.health().error).toMatchObject({
          code: "FORBIDDEN",
          message: expect.stringContaining(`queue "${ticks.name}_to-g"`),
        });
      }, patience);
      expect(bus.health().status).toBe("degraded");
      refusal = () => undefined;
      await vi.waitFor(() => expect(subscription.health()).toMatchObject({ state: "live" }), patience);
      await vi.waitFor(
        async () => expect(await subscription.backlog()).toMatchObject({ ready: 0, inFlight: 0 }),
        patience,
      );
      expect(handled).toEqual(new Set([1]));
    },
    60_000,
  );
});

describe("the planned rights", () => {
  /** As IAM names it. n.b. For the attributes of a subscription it knows no resource. */
  const rightOf = (action: string) => {
    const sns = /^(Publish|Subscribe|CreateTopic|(Get|List)(Topic|Subscription))/.test(action);
    return `${sns ? "sns" : "sqs"}:${action.replace(/Batch$/, "")}`;
  };

  async function openRoles(name: string, more: SqsSnsOptions = {}) {
    const driverOf = (accessKeyId: string) =>
      sqsSns({ endpoint, waitSeconds: 1, credentials: { accessKeyId, secretAccessKey: "secret" }, ...more });
    const declaration = declarationOf(name);
    const resources = driverOf("x").topology(declaration);
    const allowed = ({ key, action, resource }: Asked) =>
      resources.some(({ name: planned, actions }) => {
        if (!["ListTopics", "GetSubscriptionAttributes"].includes(action) && planned !== resource) return false;
        return actions?.[key as Role]?.includes(rightOf(action)) === true; // our own keys
      });
    refusal = (one) => (allowed(one) ? undefined : "AccessDenied");
    const connectAs = async (role: Role) => {
      const signal = AbortSignal.timeout(20_000);
      const context = { runtime: nodeRuntime, signal, clientName: "rights", report: () => {} };
      const connection = await driverOf(role).connect(context);
      onTestFinished(() => connection.close(AbortSignal.timeout(5_000)));
      return connection;
    };
    const provision = await connectAs("provision");
    const roles = {
      driver: driverOf("x"),
      provision,
      publish: await connectAs("publish"),
      consume: await connectAs("consume"),
    };
    return { roles, declaration, planned: new Set(resources.map((one) => one.name)) };
  }

  test("are enough for what each role asks for", async () => {
    const { roles, declaration, planned } = await openRoles(`plan-${randomUUID().slice(0, 8)}`);
    await fulfil(roles, declaration);
    // It also asks whether SQS answers, and for a topic of the other kind, which nobody planned: a refusal is an answer.
    const refused = asked
      .filter((one) => one.refused !== undefined && planned.has(one.resource))
      .map(({ key, action, resource }) => `${key} ${action} ${resource}`);
    expect(refused).toEqual([]);
  }, 120_000);
});
