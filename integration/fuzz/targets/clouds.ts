import { Chance } from "../chance.ts";
import { hostileText } from "../hostile.ts";
import { google as googleRecords, sqs as sqsRecords } from "../inside.ts";
import { sample, type Target } from "../target.ts";
import { checkDelivery, copyOf, ours, plain, refusal, sourceOf } from "./delivery.ts";

const notification = (attributes: unknown, message = "x") =>
  JSON.stringify({
    Type: "Notification",
    TopicArn: "arn:aws:sns:eu-west-1:1:orders",
    Message: message,
    MessageAttributes: attributes,
  });

const sqs: Target = {
  name: "sqs-sns: message",
  golden: [
    plain,
    sample("eA==", {
      sluice: '{"sluice-id":"m-1","sluice-time":"1767225600000"}',
      "sluice-headers": '{"a":"b"}',
      "sluice-body": "base64",
    }),
    sample(notification({ a: { Type: "String", Value: "1" }, b: { Type: "Binary", Value: "AAA=" } })),
    sample(notification({})),
    sample(notification(null)),
    sample(notification({ a: null })),
  ],
  names: ["sluice", "sluice-headers", "sluice-body", "sluice-binary-attributes"],
  weight: 1.5,
  expected: refusal,
  run({ bytes, headers, seed }) {
    const chance = new Chance(seed);
    const attribute = (text: string) =>
      chance.pick([
        { DataType: "String", StringValue: text },
        { DataType: "String", StringValue: text },
        { DataType: "Number", StringValue: text },
        { DataType: "Binary", BinaryValue: Buffer.from(text) },
        { DataType: text },
        { DataType: undefined, StringValue: text },
      ]);
    const entries = Object.entries(headers).map(([name, text]) => [name, attribute(text)] as const);
    const message = {
      MessageId: "native",
      ReceiptHandle: "r",
      Body: chance.once(20) ? undefined : bytes.toString(),
      MessageAttributes: chance.once(4) ? undefined : Object.fromEntries(entries),
      Attributes: {
        SentTimestamp: hostileText(chance),
        ApproximateReceiveCount: chance.pick(["1", hostileText(chance)]),
        MessageGroupId: hostileText(chance),
      },
    };
    const received = sqsRecords.fromNative(message as Parameters<typeof sqsRecords.fromNative>[0]);
    const delivery = received.delivery(sourceOf(chance), "q");
    checkDelivery(delivery);
    sqsRecords.toNative(copyOf(delivery), undefined);
  },
};

const google: Target = {
  name: "google-pubsub: message",
  golden: [
    plain,
    ours,
    sample("x", { googclient_OpenCensusTraceContext: "a", CloudPubSubDeadLetterSourceDeliveryCount: "5" }),
  ],
  names: ["CloudPubSubDeadLetterSourceDeliveryCount", "googclient_traceparent", "sluice-headers"],
  expected: refusal,
  run({ bytes, headers, seed }) {
    const chance = new Chance(seed);
    // n.b. The server's own: never hostile, in several types.
    const seconds = chance.pick<unknown>([1_767_225_600, "1767225600", 0, undefined]);
    const received = {
      deliveryAttempt: chance.pick([0, 1, 7, undefined, null]),
      message: chance.once(50)
        ? null
        : {
            attributes: chance.once(20) ? null : { ...headers },
            data: chance.pick<unknown>([bytes, bytes.toString("base64"), null]),
            messageId: chance.pick([null, "1", hostileText(chance)]),
            orderingKey: chance.pick([null, "", hostileText(chance)]),
            publishTime: chance.once(9) ? null : { seconds, nanos: chance.pick<unknown>([0, 5, null]) },
          },
    } as Parameters<typeof googleRecords.fromNative>[0];
    const delivery = googleRecords.fromNative(received, sourceOf(chance), "subscription");
    checkDelivery(delivery);
    googleRecords.publishedMs(received);
    googleRecords.toNative(copyOf(delivery), chance.once(4));
  },
};

export const clouds: readonly Target[] = [sqs, google];
