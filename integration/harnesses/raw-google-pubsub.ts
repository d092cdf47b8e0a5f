import { randomUUID } from "node:crypto";
import { setTimeout as pause } from "node:timers/promises";
import { PubSub, v1 } from "@google-cloud/pubsub";
import type { protos } from "@google-cloud/pubsub";
import type { RawClient, RawReader, RawRecord } from "@sluice/conformance";

type Received = protos.google.pubsub.v1.IReceivedMessage;

/** The generated clients themselves, beside the adapter. */
export async function openRawGooglePubsub(endpoint: string, projectId: string): Promise<RawClient> {
  const client = new PubSub({ apiEndpoint: endpoint, projectId });
  // The client fills in every member that it states as optional.
  const config = (await client.getClientConfig()) as ConstructorParameters<typeof v1.SubscriberClient>[0];
  const publisher = new v1.PublisherClient(config);
  const subscriber = new v1.SubscriberClient(config);
  const topicPath = (name: string) => `projects/${projectId}/topics/${legal(name)}`;
  const subscriptionPath = (name: string) => `projects/${projectId}/subscriptions/${legal(name)}`;
  const pull = pullWith(subscriber);
  const unsettled = unsettledWith(subscriber, projectId);
  return {
    async produce(topic, records) {
      for (const { key, body, headers = {} } of records) {
        const attributes = Object.fromEntries(
          Object.entries(headers).map(([name, value]) => [name, Buffer.from(value).toString()]),
        );
        // n.b. a message has a body or an attribute.
        if (!body?.length && Object.keys(attributes).length === 0) attributes["foreign"] = "1";
        const orderingKey = key === undefined || key === null ? "" : Buffer.from(key).toString();
        await publisher.publish({
          topic: topicPath(topic),
          messages: [{ data: body ?? null, attributes, orderingKey }],
        });
      }
    },
    async consume(topic) {
      const subscription = subscriptionPath(`raw-${randomUUID()}`);
      await subscriber.createSubscription({ name: subscription, topic: topicPath(topic), ackDeadlineSeconds: 60 });
      // n.b. the emulator gives it what the topic retained before.
      const now = Date.now();
      const time = { seconds: Math.floor(now / 1_000), nanos: (now % 1_000) * 1_000_000 };
      await subscriber.seek({ subscription, time });
      return reader(
        () => pull(subscription),
        async (ackIds) => void (await subscriber.acknowledge({ subscription, ackIds })),
        async () => void (await subscriber.deleteSubscription({ subscription })),
      );
    },
    deadLetters: async (topic, group) => (await unsettled(`${topic}~${group}~dlq`)).map(toRaw),
    async depth(topic, group) {
      const [main, entry] = await Promise.all([
        unsettled(`${topic}~${group}`),
        unsettled(`${topic}~${group}~retry`).catch((error: unknown) => {
          if (/not exist|not found/i.test(String(error))) return []; // A group that never retries has no own entry.
          throw error;
        }),
      ]);
      return main.length + entry.length;
    },
    async close() {
      await Promise.all([publisher.close(), subscriber.close(), client.close()]);
    },
  };
}

function pullWith(subscriber: v1.SubscriberClient): (subscription: string) => Promise<readonly Received[]> {
  return async (subscription) => {
    const [{ receivedMessages }] = await subscriber.pull({ subscription, maxMessages: 1_000, returnImmediately: true });
    return receivedMessages ?? [];
  };
}

/**
 * What a subscription has not settled, handed out or not, without taking it: a snapshot of it, and another subscription of the same
 * topic that is set to that snapshot.
 */
function unsettledWith(
  subscriber: v1.SubscriberClient,
  projectId: string,
): (name: string) => Promise<readonly Received[]> {
  const pull = pullWith(subscriber);
  return async (name) => {
    const id = `raw-${randomUUID()}`;
    const snapshot = `projects/${projectId}/snapshots/${id}`;
    const probe = `projects/${projectId}/subscriptions/${id}`;
    const subscription = `projects/${projectId}/subscriptions/${legal(name)}`;
    const [{ topic }] = await subscriber.getSubscription({ subscription });
    await subscriber.createSnapshot({ name: snapshot, subscription });
    try {
      await subscriber.createSubscription({ name: probe, topic: topic ?? null, ackDeadlineSeconds: 60 });
      await subscriber.seek({ subscription: probe, snapshot });
      return await all(() => pull(probe));
    } finally {
      await subscriber.deleteSubscription({ subscription: probe }).catch(() => undefined);
      await subscriber.deleteSnapshot({ snapshot });
    }
  };
}

/** Names must begin with a letter, and not with "goog". */
function legal(name: string): string {
  return /^(?!goog)[A-Za-z].{2}/i.test(name) ? name : `sluice~~~${name}`;
}

/** Until nothing comes any more: the effect of a seek takes a moment. */
async function all(pull: () => Promise<readonly Received[]>): Promise<readonly Received[]> {
  const found = new Map<string, Received>();
  for (let empty = 0; empty < 3;) {
    const received = await pull();
    for (const each of received) found.set(each.message?.messageId ?? "", each);
    empty = received.length === 0 ? empty + 1 : 0;
    if (received.length === 0) await pause(50);
  }
  return [...found.values()];
}

function reader(
  pull: () => Promise<readonly Received[]>,
  acknowledge: (ackIds: string[]) => Promise<void>,
  close: () => Promise<void>,
): RawReader {
  const seen: RawRecord[] = [];
  return {
    async read(count, ms) {
      const until = performance.now() + ms;
      while (seen.length < count && performance.now() < until) {
        const received = await pull();
        if (received.length === 0) await pause(20);
        else await acknowledge(received.map(({ ackId }) => ackId ?? ""));
        seen.push(...received.map(toRaw));
      }
      return seen.splice(0, count);
    },
    close,
  };
}

function toRaw({ message }: Received): RawRecord {
  const key = message?.orderingKey;
  const headers = { ...message?.attributes };
  return {
    ...(key ? { key } : {}),
    body: typeof message?.data === "string" ? Buffer.from(message.data, "base64") : (message?.data ?? null),
    headers,
  };
}
