// Credentials that expire, and rights that are missing. The emulator takes any credentials, so a front stands before it that
// knows them by key id, as the service would, and refuses what a test says in the service's own words.
import { createServer, type IncomingMessage, request as forward, type ServerResponse } from "node:http";
import { buffer } from "node:stream/consumers";
import { randomUUID } from "node:crypto";
import { type Bus, connect, type ConnectOptions, isSluiceError, topic, type Topic } from "@sluice/core";
import { sqsSns, type SqsSnsOptions } from "@sluice/sqs-sns";
import { startFauxqs } from "fauxqs";
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test, vi } from "vitest";

interface Tick {
  readonly n: number;
}

interface Asked {
  readonly key: string;
  readonly action: string;
}

const patience = { timeout: 20_000, interval: 20 };
let emulator: Awaited<ReturnType<typeof startFauxqs>>;
let front: ReturnType<typeof createServer>;
let endpoint = "";
/** What was asked with which key; and what it is refused with. */
let asked: (Asked & { readonly refused: string | undefined })[] = [];
let refusal: (asked: Asked) => string | undefined = () => undefined;

beforeAll(async () => {
  emulator = await startFauxqs({ port: 0, host: "127.0.0.1", logger: false });
  front = createServer((incoming, outgoing) => void answer(incoming, outgoing));
  await new Promise<void>((resolve) => front.listen(0, "127.0.0.1", resolve));
  const address = front.address();
  endpoint = `http://127.0.0.1:${typeof address === "object" ? address?.port : ""}`;
});

afterAll(async () => {
  front.closeAllConnections();
  front.close();
  await emulator.stop();
});

beforeEach(() => {
  asked = [];
  refusal = () => undefined;
});

async function answer(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
  const body = await buffer(incoming);
  const { authorization = "", "x-amz-target": target } = incoming.headers;
  const action = String(target ?? new URLSearchParams(body.toString()).get("Action")).replace(/^AmazonSQS\./, "");
  const one = { key: /Credential=([^/]+)/.exec(authorization)?.[1] ?? "", action };
  const refused = refusal(one);
  asked.push({ ...one, refused });
  if (refused !== undefined) return refuse(outgoing, refused, target !== undefined);
  const { method, headers, url } = incoming;
  const inner = forward({ host: "127.0.0.1", port: emulator.port, path: url, method, headers }, (reply) => {
    outgoing.writeHead(reply.statusCode ?? 500, reply.headers);
    reply.pipe(outgoing);
  });
  inner.on("error", () => outgoing.destroy());
  inner.end(body);
}

/** SQS answers in JSON, SNS in XML. */
function refuse(outgoing: ServerResponse, code: string, json: boolean): void {
  const text = `refused: ${code}`;
  outgoing.statusCode = 403;
  outgoing.setHeader("content-type", json ? "application/x-amz-json-1.0" : "text/xml");
  outgoing.end(
    json
      ? JSON.stringify({ __type: `com.amazon.coral.service#${code}Exception`, message: text })
      : `<ErrorResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><Error><Type>Sender</Type><Code>${code}</Code>` +
          `<Message>${text}</Message></Error><RequestId>1</RequestId></ErrorResponse>`,
  );
}

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
    expect([["UNAUTHORIZED", "not-stored"], ["TIMEOUT", "unknown"]]).toContainEqual(
      isSluiceError(early) ? [early.code, early.outcome] : early,
    );
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
