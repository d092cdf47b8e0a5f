// Rights that are missing, credentials that expire, and whether the planned rights are enough. The emulator knows neither, so a front
// stands before it.
import { randomUUID } from "node:crypto";
import { createServer } from "node:http";
import { getCACertificates, setDefaultCACertificates } from "node:tls";
import { inspect } from "node:util";
import { PubSub, protos } from "@google-cloud/pubsub";
import { type Bus, connect, type ConnectOptions, isSluiceError, nodeRuntime, topic, type Topic } from "@sluice/core";
import type { Resource, Role } from "@sluice/core/driver";
import { googlePubsub, type GooglePubsubOptions } from "@sluice/google-pubsub";
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test, vi } from "vitest";
import { brokers } from "../brokers/index.ts";
import { declarationOf, fulfil } from "../harnesses/duties.ts";
import { type Asked, type GoogleFront, openGoogleFront, type Refusal } from "../harnesses/google-front.ts";
import { selfSigned } from "../registry/tls.ts";

// n.b. gRPC reads it when it is loaded, and would then not trust whom this process trusts.
vi.hoisted(() => delete process.env["GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"]);

interface Tick {
  readonly n: number;
}

const started = await brokers([{ broker: "google-pubsub" }]);
const [running] = started.available;
const emulator = running?.environmentVariables["PUBSUB_EMULATOR_HOST"] ?? "";
afterAll(() => started.stopAll(), 60_000);

const projectId = "sluice";
const patience = { timeout: 20_000, interval: 20 };
const forbidden: Refusal = { status: 7, text: "User not authorized to perform this action." };
const unauthenticated: Refusal = { status: 16, text: "Request had invalid authentication credentials." };
/** All that `pubsub.subscriptions.consume` allows. */
const consuming = ["Pull", "StreamingPull", "Acknowledge", "ModifyAckDeadline"] as const;

type Judge = (asked: Asked) => Refusal | undefined;

/** What was asked, and what it was refused with. */
let asked: (Asked & { readonly refused: Refusal | undefined })[] = [];
let judge: Judge = () => undefined;
let front: GoogleFront;
/** Clients that believe in the service itself: with TLS, credentials and streams. */
let secure: GoogleFront;

/** What is refused from now on, also to streams that run. */
function rule(now: Judge): void {
  judge = now;
  front.enforce();
  secure.enforce();
}

function deny(resource: string, ...methods: readonly string[]): void {
  rule((one) => (methods.includes(one.method) && one.resource === resource ? forbidden : undefined));
}

function named(): Topic<Tick, Tick> {
  return topic<Tick>(`rights-${randomUUID().slice(0, 8)}`, { groups: ["g"], ordering: "none" });
}

async function open(options: GooglePubsubOptions = {}, connecting: ConnectOptions = {}): Promise<Bus> {
  const driver = googlePubsub({ projectId, endpoint: front.address, leaseSeconds: 10, ...options });
  const bus = await connect(driver, connecting);
  onTestFinished(() => bus.close());
  return bus;
}

/** Where tokens come from. `ill`: with which HTTP status it gives none. */
async function openTokens() {
  const secret = `secret-${randomUUID()}`;
  const given = { seconds: 3_600, ill: 0, issued: new Map<string, number>() };
  const server = createServer((request, response) => {
    request.resume();
    const token = `token-${randomUUID()}`;
    if (given.ill === 0) given.issued.set(token, performance.now());
    const refusal = { error: given.ill === 400 ? "invalid_grant" : "internal_failure" };
    const answer = { access_token: token, expires_in: given.seconds, token_type: "Bearer" };
    response.writeHead(given.ill || 200, { "content-type": "application/json" });
    response.end(JSON.stringify(given.ill ? refusal : answer));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  const oauth2TokenUrl = `http://127.0.0.1:${typeof address === "object" ? address?.port : ""}/token`;
  const client = new PubSub({
    projectId,
    apiEndpoint: secure.address,
    emulatorMode: false,
    credentials: { type: "authorized_user", client_id: "id", client_secret: secret, refresh_token: secret },
    clientOptions: { endpoints: { oauth2TokenUrl }, eagerRefreshThresholdMillis: 1_500 },
  });
  onTestFinished(async () => {
    server.closeAllConnections();
    server.close();
    await client.close();
  });
  return { given, client, secret };
}

/** The client looks for a new token half a second after it got one for two. */
async function expired({ issued }: { readonly issued: ReadonlyMap<string, number> }): Promise<void> {
  const last = [...issued.values()].at(-1) ?? 0;
  await vi.waitFor(() => expect(performance.now() - last).toBeGreaterThan(600), patience);
}

/** A group that is read, and what came. */
async function reading(bus: Bus, ticks: Topic<Tick, Tick>, handle: () => Promise<void> | void = () => {}) {
  const handled = new Set<number>();
  const subscription = await bus.subscribe(ticks, { group: "g" }, async ({ n }) => {
    await handle();
    handled.add(n);
  });
  return { handled, subscription };
}

const upTo = (count: number, from = 0) => Array.from({ length: count }, (_, n) => from + n);

beforeAll(async () => {
  if (!running) return;
  const { ca, ...shown } = await selfSigned();
  setDefaultCACertificates([...getCACertificates("default"), ca]);
  const judged: Judge = (one) => {
    const refused = judge(one);
    asked.push({ ...one, refused });
    return refused;
  };
  front = await openGoogleFront(emulator, judged);
  secure = await openGoogleFront(emulator, judged, shown);
}, 60_000);

afterAll(() => {
  if (!running) return;
  front.close();
  secure.close();
});

beforeEach(() => {
  asked = [];
  judge = () => undefined;
});

describe.skipIf(!running)("no right", () => {
  test.each([
    ["CreateTopic", "topic", (name: string) => name],
    ["CreateTopic", "topic", (name: string) => `${name}~g~retry`],
    ["CreateSubscription", "subscription", (name: string) => `${name}~g`],
  ])("to %s: FORBIDDEN, naming the %s and the permission; other topics go on", async (method, kind, nameOf) => {
    const bus = await open();
    const [closed, other] = [named(), named()];
    const name = nameOf(closed.name);
    deny(name, method);
    const { handled } = await reading(bus, other);
    const refusal = {
      code: "FORBIDDEN",
      message: expect.stringMatching(new RegExp(`${kind} "${name}": .*lacks pubsub.${kind}s.create`)),
    };
    const began = performance.now();
    await expect(bus.publish(closed, { n: 1 }, { deadline: 9_000 })).rejects.toMatchObject({
      ...refusal,
      outcome: "not-stored",
    });
    await expect(bus.subscribe(closed, { group: "g" }, () => {})).rejects.toMatchObject(refusal);
    expect(performance.now() - began).toBeLessThan(10_000);
    await bus.publish(other, { n: 1 });
    await vi.waitFor(() => expect(handled).toEqual(new Set([1])), patience);
    rule(() => undefined);
    await bus.publish(closed, { n: 2 });
  });

  test("to publish: FORBIDDEN, naming the topic, not stored; what is sent beside it to others arrives", async () => {
    const bus = await open();
    const [closed, other] = [named(), named()];
    const { handled } = await reading(bus, other);
    const { handled: never } = await reading(bus, closed);
    deny(closed.name, "Publish");
    const began = performance.now();
    const results = await Promise.allSettled(
      upTo(40).map((n) => bus.publish(n % 2 ? closed : other, { n }, { deadline: 9_000 })),
    );
    expect(performance.now() - began).toBeLessThan(10_000);
    const refusal = {
      code: "FORBIDDEN",
      outcome: "not-stored",
      message: expect.stringMatching(new RegExp(`topic "${closed.name}".*plan\\(\\)`)),
    };
    const reason = expect.objectContaining(refusal);
    expect(results.filter((_, n) => n % 2)).toEqual(upTo(20).map(() => ({ status: "rejected", reason })));
    await vi.waitFor(() => expect(handled).toEqual(new Set(upTo(20).map((n) => 2 * n))), patience);
    rule(() => undefined);
    await bus.publish(closed, { n: 40 });
    await vi.waitFor(() => expect(never).toEqual(new Set([40])), patience);
  });

  test("to look: who may publish and read is let do it", async () => {
    const ticks = named();
    await (await open()).publish(ticks, { n: 0 });
    const looking = ["GetTopic", "ListTopicSubscriptions", "GetSubscription"];
    rule(({ method }) => (looking.includes(method) ? forbidden : undefined));
    const bus = await open({}, { provision: "assume" });
    const { handled } = await reading(bus, ticks);
    await bus.publish(ticks, { n: 1 });
    await vi.waitFor(() => expect(handled).toEqual(new Set([0, 1])), patience);
  });

  test("to look, and none to consume: who subscribes is told so", async () => {
    const ticks = named();
    await (await open()).publish(ticks, { n: 0 });
    rule(({ resource }) => (resource === `${ticks.name}~g` ? forbidden : undefined));
    const bus = await open({}, { provision: "assume" });
    await expect(bus.subscribe(ticks, { group: "g" }, () => {})).rejects.toMatchObject({
      code: "FORBIDDEN",
      message: expect.stringContaining(`"${ticks.name}~g"`),
    });
    rule(() => undefined);
    const { handled } = await reading(bus, ticks);
    await vi.waitFor(() => expect(handled).toEqual(new Set([0])), patience);
  });

  test.each(["pull", "stream"] as const)(
    "to consume (%s): the subscription says FORBIDDEN, naming it; others go on, and so does it once it may",
    async (intake) => {
      const bus = await open(intake === "pull" ? {} : { client: (await openTokens()).client });
      const [ticks, other] = [named(), named()];
      const { handled, subscription } = await reading(bus, ticks);
      const { handled: others } = await reading(bus, other);
      await bus.publish(ticks, { n: 0 });
      await vi.waitFor(() => expect(handled).toEqual(new Set([0])), patience);
      const used = asked.filter(({ resource }) => resource === `${ticks.name}~g`).map(({ method }) => method);
      expect(used.includes("StreamingPull")).toBe(intake === "stream");
      deny(`${ticks.name}~g`, ...consuming);
      await bus.publish(ticks, { n: 1 });
      await vi.waitFor(() => {
        expect(subscription.health()).toMatchObject({
          state: "reconnecting",
          error: { code: "FORBIDDEN", message: expect.stringContaining(`"${ticks.name}~g"`) },
        });
      }, patience);
      expect(bus.health().status).toBe("degraded");
      await bus.publish(other, { n: 2 });
      await vi.waitFor(() => expect(others).toEqual(new Set([2])), patience);
      rule(() => undefined);
      await vi.waitFor(() => expect(handled).toEqual(new Set([0, 1])), patience);
      await vi.waitFor(
        () => expect(subscription.health()).toMatchObject({ state: "live", error: undefined }),
        patience,
      );
    },
    60_000,
  );
});

describe.skipIf(!running)("credentials", () => {
  test("that expire are renewed before they do, and nobody sees it", async () => {
    const { given, client } = await openTokens();
    given.seconds = 3;
    rule(({ token }) => (performance.now() - (given.issued.get(token) ?? 0) > 3_000 ? unauthenticated : undefined));
    const bus = await open({ client });
    const ticks = named();
    const { handled, subscription } = await reading(bus, ticks);
    const used = () => new Set(asked.filter(({ method }) => method === "Publish").map(({ token }) => token));
    let sent = 0;
    for (; used().size < 4; sent++) await bus.publish(ticks, { n: sent });
    await vi.waitFor(() => expect(handled.size).toBe(sent), patience);
    expect(asked.filter(({ refused }) => refused)).toEqual([]);
    expect(subscription.health()).toMatchObject({ state: "live", error: undefined });
  }, 60_000);

  test("that the service refuses for a while: UNAUTHORIZED at once, nothing is lost, and all of it goes on", async () => {
    const { client } = await openTokens();
    const bus = await open({ client });
    const ticks = named();
    const gate = Promise.withResolvers<void>();
    const { handled, subscription } = await reading(bus, ticks, () => gate.promise);
    await Promise.all(upTo(50).map((n) => bus.publish(ticks, { n })));
    rule(() => unauthenticated);
    const refusal = {
      code: "UNAUTHORIZED",
      outcome: "not-stored",
      message: expect.stringMatching(new RegExp(`topic "${ticks.name}".*credentials`)),
    };
    const during = await Promise.allSettled(upTo(10, 50).map((n) => bus.publish(ticks, { n })));
    expect(during).toEqual(during.map(() => ({ status: "rejected", reason: expect.objectContaining(refusal) })));
    await vi.waitFor(() => {
      expect(subscription.health()).toMatchObject({ state: "reconnecting", error: { code: "UNAUTHORIZED" } });
    }, patience);
    expect(bus.health().status).not.toBe("ok");
    // What they did cannot be settled now.
    gate.resolve();
    rule(() => undefined);
    await Promise.all(upTo(10, 60).map((n) => bus.publish(ticks, { n })));
    await vi.waitFor(() => expect(handled).toEqual(new Set([...upTo(50), ...upTo(10, 60)])), patience);
    await vi.waitFor(() => expect(subscription.health()).toMatchObject({ state: "live", error: undefined }), patience);
  }, 60_000);

  test("that cannot be renewed for a while: publishes wait for them until their deadline, and all goes on", async () => {
    const { given, client } = await openTokens();
    given.seconds = 2;
    const bus = await open({ client });
    const ticks = named();
    const { handled, subscription } = await reading(bus, ticks);
    await bus.publish(ticks, { n: 0 });
    given.ill = 503;
    await expired(given);
    const early: unknown = await bus.publish(ticks, { n: 1 }, { deadline: 3_000 }).catch((reason: unknown) => reason);
    // A try that is on its way at the deadline has no answer yet.
    expect([
      ["UNAUTHORIZED", "not-stored"],
      ["TIMEOUT", "unknown"],
    ]).toContainEqual(isSluiceError(early) ? [early.code, early.outcome] : early);
    expect(bus.health().publish.lastError).toMatchObject({ code: "UNAUTHORIZED" });
    const during = bus.publish(ticks, { n: 2 });
    // A stream outlives its token; the next one needs another.
    rule(({ method }) => (method === "StreamingPull" ? unauthenticated : undefined));
    await vi.waitFor(() => {
      expect(subscription.health()).toMatchObject({ state: "reconnecting", error: { code: "UNAUTHORIZED" } });
    }, patience);
    rule(() => undefined);
    given.ill = 0;
    await during;
    await vi.waitFor(() => expect(handled).toEqual(new Set([0, 2])), patience);
    await vi.waitFor(() => expect(subscription.health()).toMatchObject({ state: "live", error: undefined }), patience);
  }, 60_000);

  test("that were revoked: UNAUTHORIZED at once, not stored, and no secret in it", async () => {
    const { given, client, secret } = await openTokens();
    given.seconds = 2;
    const bus = await open({ client });
    const ticks = named();
    const { subscription } = await reading(bus, ticks);
    await bus.publish(ticks, { n: 0 });
    given.ill = 400;
    await expired(given);
    const error: unknown = await bus.publish(ticks, { n: 1 }).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: "UNAUTHORIZED", outcome: "not-stored" });
    rule(({ method }) => (method === "StreamingPull" ? unauthenticated : undefined));
    await vi.waitFor(() => {
      expect(subscription.health()).toMatchObject({ state: "reconnecting", error: { code: "UNAUTHORIZED" } });
    }, patience);
    const refused: unknown = await open({ client }).catch((reason: unknown) => reason);
    expect(refused).toMatchObject({ code: "UNAUTHORIZED" });
    const shown = inspect([error, refused, subscription.health(), bus.health()], { depth: 20 });
    for (const hidden of [secret, ...given.issued.keys()]) expect(shown).not.toContain(hidden);
  }, 60_000);
});

describe.skipIf(!running)("the planned rights", () => {
  /** As IAM names them, with the resource for which they are asked. */
  function rightsOf({ method, resource, message }: Asked): readonly (readonly [name: string, right: string])[] {
    if ((consuming as readonly string[]).includes(method)) return [[resource, "pubsub.subscriptions.consume"]];
    if (method === "CreateSubscription") {
      const of = protos.google.pubsub.v1.Subscription.decode(message).topic.replace(/^.*\//, "");
      return [
        [resource, "pubsub.subscriptions.create"],
        [of, "pubsub.topics.attachSubscription"],
      ];
    }
    const rights: Readonly<Record<string, string>> = {
      Publish: "pubsub.topics.publish",
      CreateTopic: "pubsub.topics.create",
      GetTopic: "pubsub.topics.get",
      ListTopicSubscriptions: "pubsub.topics.get",
      GetSubscription: "pubsub.subscriptions.get",
    };
    return [[resource, rights[method] ?? `no right for ${method}`]];
  }

  function allows(resources: readonly Resource[], one: Asked): boolean {
    // So that a new subscription of an emulator begins now.
    if (one.method === "Seek") return true;
    return rightsOf(one).every(([name, right]) =>
      resources.some(
        (planned) =>
          planned.name === name &&
          right.startsWith(`pubsub.${planned.kind}s.`) &&
          planned.actions?.[one.client as Role]?.includes(right), // our own names
      ),
    );
  }

  test("are enough for what each role asks for", async () => {
    const driver = googlePubsub({
      projectId,
      endpoint: front.address,
      leaseSeconds: 10,
      prefix: `plan-${randomUUID().slice(0, 8)}-`,
    });
    const declaration = declarationOf("duties");
    const resources = driver.topology(declaration);
    rule((one) => (allows(resources, one) ? undefined : forbidden));
    const connectAs = async (role: Role) => {
      const signal = AbortSignal.timeout(20_000);
      const connection = await driver.connect({ runtime: nodeRuntime, signal, clientName: role, report: () => {} });
      onTestFinished(() => connection.close(AbortSignal.timeout(5_000)));
      return connection;
    };
    const provision = await connectAs("provision");
    const publish = await connectAs("publish");
    await fulfil({ driver, provision, publish, consume: await connectAs("consume") }, declaration);
    // It also asks whether the service answers, for a topic that nobody planned: a refusal is an answer.
    const refused = asked
      .filter(({ refused: refusal, resource }) => refusal && resource !== "sluice~~ping")
      .map(({ client, method, resource }) => `${client} ${method} ${resource}`);
    expect(refused).toEqual([]);
  }, 120_000);
});
