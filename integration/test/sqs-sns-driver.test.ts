/** What the driver does around messages, on fauxqs in this process: provisioning, broadcasts, the waiting place. */
import {
  GetSubscriptionAttributesCommand,
  ListSubscriptionsByTopicCommand,
  SetSubscriptionAttributesCommand,
} from "@aws-sdk/client-sns";
import {
  DeleteQueueCommand,
  GetQueueAttributesCommand,
  GetQueueUrlCommand,
  ListQueuesCommand,
  SetQueueAttributesCommand,
  TagQueueCommand,
} from "@aws-sdk/client-sqs";
import type { Connection, Declaration, DeclaredGroup, DriverEvent, Runtime } from "@sluice/core/driver";
import { sqsSns, type SqsSnsClient, type SqsSnsOptions } from "@sluice/sqs-sns";
import { startFauxqs } from "fauxqs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

const runtime: Runtime = {
  wallMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  random: () => Math.random(),
  id: () => crypto.randomUUID(),
  timer(ms, run, { background = false } = {}) {
    const timer = setTimeout(run, ms);
    if (background) timer.unref();
    return () => clearTimeout(timer);
  },
  defer: (run) => void setImmediate(run),
};

let server: Awaited<ReturnType<typeof startFauxqs>>;
const closing: (() => Promise<void>)[] = [];
const never = new AbortController().signal;

beforeAll(async () => {
  server = await startFauxqs({ port: 0, host: "127.0.0.1", logger: false });
});

afterAll(async () => {
  for (const close of closing.toReversed()) await close();
  await server.stop();
});

async function open(options: SqsSnsOptions = {}) {
  const events: DriverEvent[] = [];
  const driver = sqsSns({
    endpoint: `http://127.0.0.1:${server.port}`,
    credentials: { accessKeyId: "test", secretAccessKey: "test" },
    waitSeconds: 1,
    ...options,
  });
  const connection = await driver.connect({
    runtime,
    signal: never,
    clientName: "test",
    report: (event) => events.push(event),
  });
  closing.push(() => connection.close(never));
  return { driver, connection, events, native: connection.native as SqsSnsClient };
}

const billing: DeclaredGroup = { name: "billing", start: "now", retry: true, deadLetter: true };

function declaration(name: string, group: Partial<DeclaredGroup> = {}, ordered = false): Declaration {
  return { topics: [{ name, ordered, shards: 1, delays: false, groups: [{ ...billing, ...group }] }] };
}

async function provision(
  parts: Awaited<ReturnType<typeof open>>,
  declared: Declaration,
  mode: "create" | "verify" = "create",
): Promise<string[]> {
  const findings = await parts.connection.provision(parts.driver.topology(declared), mode, never);
  return findings.map(({ resource, state }) => `${resource.kind} ${resource.name} ${state}`);
}

async function urlOf({ sqs }: SqsSnsClient, name: string): Promise<string> {
  return (await sqs.send(new GetQueueUrlCommand({ QueueName: name }))).QueueUrl ?? "";
}

describe("provisioning", () => {
  test("says what is missing, makes it once, and finds it again", async () => {
    const parts = await open();
    const declared = declaration("once");
    const all = ["topic once", "queue once_to-billing_dlq", "queue once_to-billing", "subscription once_to-billing"];
    expect(await provision(parts, declared, "verify")).toContain("topic once missing");
    expect(await provision(parts, declared)).toEqual(all.map((each) => `${each} created`));
    expect(await provision(parts, declared)).toEqual([]);
    expect(await provision(await open(), declared, "verify")).toEqual([]);
    const { Attributes = {} } = await parts.native.sqs.send(
      new GetQueueAttributesCommand({
        QueueUrl: await urlOf(parts.native, "once_to-billing"),
        AttributeNames: ["All"],
      }),
    );
    expect(JSON.parse(Attributes["RedrivePolicy"] ?? "")).toMatchObject({ maxReceiveCount: 100 });
    expect(Attributes["Policy"]).toContain(":once");
  });

  test("repairs a policy that somebody took away, and keeps what else is in it", async () => {
    const parts = await open();
    await provision(parts, declaration("policy"));
    const QueueUrl = await urlOf(parts.native, "policy_to-billing");
    const Policy = JSON.stringify({ Version: "2012-10-17", Statement: [{ Sid: "mine", Effect: "Deny" }] });
    await parts.native.sqs.send(new SetQueueAttributesCommand({ QueueUrl, Attributes: { Policy } }));
    expect(await provision(parts, declaration("policy"), "verify")).toEqual([
      "subscription policy_to-billing loses-data",
    ]);
    expect(await provision(parts, declaration("policy"))).toEqual([]);
    const { Attributes = {} } = await parts.native.sqs.send(
      new GetQueueAttributesCommand({ QueueUrl, AttributeNames: ["Policy"] }),
    );
    expect(Attributes["Policy"]).toContain("mine");
    expect(Attributes["Policy"]).toContain(":policy");
  });

  test("warns of a queue that can lose messages, and of a net that core's attempts reach", async () => {
    const parts = await open();
    await provision(parts, declaration("loses"));
    const QueueUrl = await urlOf(parts.native, "loses_to-billing");
    const Attributes = {
      MessageRetentionPeriod: "60",
      RedrivePolicy: '{"deadLetterTargetArn":"x","maxReceiveCount":3}',
    };
    await parts.native.sqs.send(new SetQueueAttributesCommand({ QueueUrl, Attributes }));
    const findings = await parts.connection.provision(parts.driver.topology(declaration("loses")), "verify", never);
    expect(findings).toHaveLength(1);
    expect(findings[0]).toMatchObject({ state: "loses-data" });
    expect(findings[0]?.detail).toMatch(/60 s are deleted.*maxReceiveCount is 3/);
  });

  test("finds a queue that is too small, or has a key that SNS may not use, and a subscription that drops", async () => {
    const parts = await open();
    await provision(parts, declaration("drops"));
    const QueueUrl = await urlOf(parts.native, "drops_to-billing");
    const Attributes = { MaximumMessageSize: "4096", KmsMasterKeyId: "alias/aws/sqs" };
    await parts.native.sqs.send(new SetQueueAttributesCommand({ QueueUrl, Attributes }));
    const TopicArn = "arn:aws:sns:us-east-1:000000000000:drops";
    const { Subscriptions = [] } = await parts.native.sns.send(new ListSubscriptionsByTopicCommand({ TopicArn }));
    const change = { AttributeName: "RedrivePolicy", AttributeValue: "{}" };
    const { SubscriptionArn } = Subscriptions[0] ?? {};
    await parts.native.sns.send(new SetSubscriptionAttributesCommand({ SubscriptionArn, ...change }));
    const findings = await parts.connection.provision(parts.driver.topology(declaration("drops")), "verify", never);
    expect(findings.map(({ resource: { kind }, state }) => [kind, state])).toEqual([
      ["queue", "loses-data"],
      ["subscription", "loses-data"],
    ]);
    expect(findings[0]?.detail).toMatch(/is 4096, a topic takes 262144.*kms:GenerateDataKey\* and kms:Decrypt/);
    expect(findings[1]?.detail).toMatch(/no redrive policy.*"drops_to-billing_dlq"/);
  });

  test("refuses another filter, and a topic whose order was changed", async () => {
    const parts = await open();
    await provision(parts, declaration("filter", { filter: { region: "eu" } }));
    expect(await provision(parts, declaration("filter", { filter: { region: "us" } }))).toEqual([
      "subscription filter_to-billing differs",
    ]);
    expect(await provision(parts, declaration("filter"))).toEqual(["subscription filter_to-billing loses-data"]);
    expect(await provision(parts, declaration("filter", {}, true))).toContain("topic filter.fifo differs");
    const arn = "arn:aws:sns:us-east-1:000000000000:filter";
    const { Subscriptions = [] } = await parts.native.sns.send(new ListSubscriptionsByTopicCommand({ TopicArn: arn }));
    expect(Subscriptions).toHaveLength(1);
    const { SubscriptionArn } = Subscriptions[0] ?? {};
    const { Attributes = {} } = await parts.native.sns.send(new GetSubscriptionAttributesCommand({ SubscriptionArn }));
    expect(Attributes["FilterPolicy"]).toContain("eu");
  });

  test("reports a queue that had to be made again", async () => {
    const parts = await open();
    await provision(parts, declaration("again"));
    await parts.native.sqs.send(new DeleteQueueCommand({ QueueUrl: await urlOf(parts.native, "again_to-billing") }));
    expect(await provision(parts, declaration("again"))).toContain("queue again_to-billing created");
    expect(parts.events.map(({ kind }) => kind)).toEqual(["recreated"]);
  });
});

describe("broadcast queues", () => {
  const options = { ordered: false, window: 10, windowBytes: 1e6, lost() {} };

  async function listen(connection: Connection, instance: string): Promise<void> {
    await connection.receiver([{ topic: "news", broadcast: "cache", instance }], options);
  }

  async function queues({ sqs }: SqsSnsClient): Promise<readonly string[]> {
    const { QueueUrls = [] } = await sqs.send(new ListQueuesCommand({ QueueNamePrefix: "sluice_broadcast-" }));
    return QueueUrls;
  }

  test("go with their connection; those of the dead are swept by a peer, and those of the living are not", async () => {
    const peer = await open();
    await provision(peer, declaration("news"));
    const leaving = await open();
    await listen(leaving.connection, "leaving");
    expect(await queues(peer.native)).toHaveLength(1);
    await leaving.connection.close(never);
    expect(await queues(peer.native)).toHaveLength(0);
    const dead = await open();
    await listen(dead.connection, "dead");
    const [QueueUrl] = await queues(peer.native);
    await listen(peer.connection, "living");
    expect(await peer.connection.sweep?.(never)).toBe(0);
    await peer.native.sqs.send(new TagQueueCommand({ QueueUrl, Tags: { "sluice:expires": "1" } }));
    expect(await peer.connection.sweep?.(never)).toBe(1);
    expect(await queues(peer.native)).toHaveLength(1);
    const arn = "arn:aws:sns:us-east-1:000000000000:news";
    const { Subscriptions = [] } = await peer.native.sns.send(new ListSubscriptionsByTopicCommand({ TopicArn: arn }));
    expect(Subscriptions).toHaveLength(2); // the group's, and the living one's
  });
});
