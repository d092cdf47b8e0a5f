import { createHash } from "node:crypto";
import {
  ListSubscriptionsByTopicCommand,
  ListTopicsCommand,
  PublishBatchCommand,
  SNSClient,
  SubscribeCommand,
  UnsubscribeCommand,
} from "@aws-sdk/client-sns";
import {
  ChangeMessageVisibilityBatchCommand,
  CreateQueueCommand,
  DeleteMessageBatchCommand,
  DeleteQueueCommand,
  GetQueueAttributesCommand,
  GetQueueUrlCommand,
  type Message,
  type MessageAttributeValue,
  ReceiveMessageCommand,
  SQSClient,
} from "@aws-sdk/client-sqs";
import type { RawClient, RawReader, RawRecord, RawShape } from "@sluice/conformance";

interface Clients {
  readonly sqs: SQSClient;
  readonly sns: SNSClient;
}

/** The SDK's clients themselves, beside the adapter. `lacks`: what this emulator cannot carry beyond what the wire cannot. */
export function openRawSqsSns(endpoint: string, lacks: readonly RawShape[]): RawClient {
  const credentials = { accessKeyId: "raw", secretAccessKey: "raw" };
  const settings = { endpoint, region: "us-east-1", credentials, maxAttempts: 5 };
  const clients = { sqs: new SQSClient({ ...settings, useQueueUrlAsEndpoint: false }), sns: new SNSClient(settings) };
  return {
    // Text of at least one character, and a group id only where there is an order: that is all that this wire has.
    lacks: ["key", "empty-body", "null-body", "binary-body", ...lacks],
    produce: (topic, records) => produce(clients, topic, records, lacks),
    consume: (topic) => openReader(clients, topic),
    deadLetters: async (topic, group) => peek(clients, await queueOf(clients, topic, group, "_dlq")),
    depth: async (topic, group) => depth(clients, await queueOf(clients, topic, group, "")),
    async close() {
      clients.sqs.destroy();
      clients.sns.destroy();
    },
  };
}

async function produce(
  clients: Clients,
  topic: string,
  records: readonly RawRecord[],
  lacks: readonly RawShape[],
): Promise<void> {
  const arn = await topicArn(clients, topic);
  const fifo = arn.endsWith(".fifo");
  const entries = records.map(({ key, body, headers = {} }, index) => ({
    Id: String(index),
    // n.b. Nobody can publish nothing, or bytes: who tries sends text that is no message of anybody's either.
    Message: Buffer.from(body ?? "").toString("utf8") || " ",
    MessageAttributes: attributesOf(headers, lacks),
    ...(fifo && {
      MessageGroupId: key === null || key === undefined ? "none" : Buffer.from(key).toString(),
      MessageDeduplicationId: crypto.randomUUID(),
    }),
  }));
  for (let start = 0; start < entries.length; start += 10) {
    const PublishBatchRequestEntries = entries.slice(start, start + 10);
    const { Failed = [] } = await clients.sns.send(
      new PublishBatchCommand({ TopicArn: arn, PublishBatchRequestEntries }),
    );
    if (Failed.length > 0) throw new Error(`raw publish: ${JSON.stringify(Failed)}`);
  }
}

function attributesOf(
  headers: Readonly<Record<string, string | Uint8Array>>,
  lacks: readonly RawShape[],
): Record<string, { DataType: string; StringValue?: string; BinaryValue?: Uint8Array }> {
  const entries = Object.entries(headers).filter(
    ([, value]) => typeof value === "string" || !lacks.includes("binary-headers"),
  );
  return Object.fromEntries(
    entries.map(([name, value]) => [
      name,
      typeof value === "string"
        ? { DataType: "String", StringValue: value }
        : { DataType: "Binary", BinaryValue: value },
    ]),
  );
}

async function topicArn({ sns }: Clients, topic: string): Promise<string> {
  const { Topics = [] } = await sns.send(new ListTopicsCommand({}));
  const known = Topics[0]?.TopicArn ?? "arn:aws:sns:us-east-1:000000000000:x";
  const base = known.slice(0, known.lastIndexOf(":") + 1);
  for (const fifo of [false, true]) {
    const arn = `${base}${cut(word(topic), fifo ? ".fifo" : "", 256)}`;
    const found = await sns.send(new ListSubscriptionsByTopicCommand({ TopicArn: arn })).catch(noSuch);
    if (found) return arn;
  }
  throw new Error(`no SNS topic of ${topic} exists`);
}

async function queueOf({ sqs }: Clients, topic: string, group: string, role: string): Promise<string> {
  for (const fifo of [false, true]) {
    const name = cut(`${word(topic)}_to-${word(group)}`, `${role}${fifo ? ".fifo" : ""}`, 80);
    const found = await sqs.send(new GetQueueUrlCommand({ QueueName: name })).catch(noSuch);
    if (found?.QueueUrl !== undefined) return found.QueueUrl;
  }
  throw new Error(`no queue${role} of ${topic}, ${group} exists`);
}

function noSuch(error: unknown): undefined {
  if (error instanceof Error && /NotFound|DoesNotExist|NonExistent/.test(error.name)) return undefined;
  throw error;
}

function word(name: string): string {
  return name.replaceAll("_", "__").replaceAll(".", "_-");
}

/** A name as it is, or its beginning and 130 bits of its digest. */
function cut(name: string, end: string, most: number): string {
  if (name.length + end.length <= most) return name + end;
  const digits = createHash("sha256").update(name).digest("hex").slice(0, 33);
  const bits = BigInt(`0x${digits}`).toString(2).padStart(132, "0");
  const digest = Array.from({ length: 26 }, (_, index) => {
    const value = Number.parseInt(bits.slice(bits.length - 5 * (index + 1), bits.length - 5 * index), 2);
    return "abcdefghijklmnopqrstuvwxyz234567"[value];
  }).join("");
  const tail = `_h-${digest}${end}`;
  return name.slice(0, most - tail.length).replace(/_+$/, "") + tail;
}

async function depth({ sqs }: Clients, url: string): Promise<number> {
  const { Attributes = {} } = await sqs.send(
    new GetQueueAttributesCommand({
      QueueUrl: url,
      AttributeNames: ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"],
    }),
  );
  return Object.values(Attributes).reduce((sum, count) => sum + Number(count), 0);
}

/** Looks at everything that waits and shows it again. */
async function peek({ sqs }: Clients, url: string): Promise<readonly RawRecord[]> {
  const seen = new Map<string, Message>();
  const wanted = await depth({ sqs } as Clients, url);
  while (seen.size < wanted) {
    const messages = await receive({ sqs }, url, 20);
    if (messages.length === 0) break;
    for (const message of messages) seen.set(message.MessageId ?? "", message);
  }
  const entries = [...seen.values()].map(({ ReceiptHandle }, index) => ({
    Id: String(index),
    ReceiptHandle,
    VisibilityTimeout: 0,
  }));
  for (let start = 0; start < entries.length; start += 10) {
    const Entries = entries.slice(start, start + 10);
    await sqs.send(new ChangeMessageVisibilityBatchCommand({ QueueUrl: url, Entries }));
  }
  return [...seen.values()].map(toRaw);
}

async function receive(
  { sqs }: Pick<Clients, "sqs">,
  url: string,
  visibility: number,
  wait = 0,
): Promise<readonly Message[]> {
  const { Messages = [] } = await sqs.send(
    new ReceiveMessageCommand({
      QueueUrl: url,
      MaxNumberOfMessages: 10,
      WaitTimeSeconds: wait,
      VisibilityTimeout: visibility,
      MessageAttributeNames: ["All"],
      MessageSystemAttributeNames: ["All"],
    }),
  );
  return Messages;
}

/** A queue of its own, subscribed raw. */
async function openReader(clients: Clients, topic: string): Promise<RawReader> {
  const { sqs, sns } = clients;
  const arn = await topicArn(clients, topic);
  const fifo = arn.endsWith(".fifo");
  const QueueName = `raw-${crypto.randomUUID()}${fifo ? ".fifo" : ""}`;
  const { QueueUrl: url = "" } = await sqs.send(
    new CreateQueueCommand({ QueueName, ...(fifo && { Attributes: { FifoQueue: "true" } }) }),
  );
  const Endpoint = `${arn.slice(0, arn.lastIndexOf(":") + 1).replace(":sns:", ":sqs:")}${QueueName}`;
  const { SubscriptionArn } = await sns.send(
    new SubscribeCommand({
      TopicArn: arn,
      Protocol: "sqs",
      Endpoint,
      Attributes: { RawMessageDelivery: "true" },
      ReturnSubscriptionArn: true,
    }),
  );
  return {
    async read(count, ms) {
      const records: RawRecord[] = [];
      const end = performance.now() + ms;
      while (records.length < count && performance.now() < end) {
        const messages = await receive(clients, url, 30, 1);
        if (messages.length === 0) continue;
        records.push(...messages.map(toRaw));
        const Entries = messages.map(({ ReceiptHandle }, index) => ({ Id: String(index), ReceiptHandle }));
        await sqs.send(new DeleteMessageBatchCommand({ QueueUrl: url, Entries }));
      }
      return records;
    },
    async close() {
      await sns.send(new UnsubscribeCommand({ SubscriptionArn }));
      await sqs.send(new DeleteQueueCommand({ QueueUrl: url }));
    },
  };
}

/** Headers are attributes; those that cannot be one are the members of two JSON attributes. */
function toRaw({ Body = "", MessageAttributes = {}, Attributes = {} }: Message): RawRecord {
  const headers: Record<string, string | Uint8Array> = {};
  for (const [name, { StringValue, BinaryValue }] of Object.entries(MessageAttributes)) {
    const value = StringValue ?? BinaryValue;
    // n.b. One stand-in lists system attributes here, without a value, when there are no others.
    if (name !== "sluice" && name !== "sluice-headers" && value !== undefined) headers[name] = value;
  }
  for (const name of ["sluice-headers", "sluice"]) Object.assign(headers, JSON.parse(textOf(MessageAttributes[name])));
  const key = headers["sluice-key"] ?? Attributes.MessageGroupId;
  return { ...(key !== undefined && { key }), body: bodyOf(Body, MessageAttributes["sluice-body"]), headers };
}

function textOf(attribute: MessageAttributeValue | undefined): string {
  return attribute?.StringValue ?? "{}";
}

function bodyOf(body: string, attribute: MessageAttributeValue | undefined): Uint8Array | null {
  switch (attribute?.StringValue) {
    case "null":
      return null;
    case "empty":
      return new Uint8Array();
    case "base64":
      return Buffer.from(body, "base64");
    default:
      return Buffer.from(body);
  }
}
