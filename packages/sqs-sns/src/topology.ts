import type { Declaration, DeclaredGroup, DeclaredTopic, Resource } from "@sluice/core/driver";
import { queueBytes } from "./capabilities.ts";
import type { Names } from "./names.ts";
import type { Settings } from "./options.ts";
import { filterPolicy } from "./policy.ts";

type Actions = NonNullable<Resource["actions"]>;

/** What each role may have to do, as IAM says it. */
const topicActions: Actions = {
  provision: ["sns:CreateTopic", "sns:GetTopicAttributes", "sns:ListTopics"],
  publish: ["sns:Publish", "sns:GetTopicAttributes", "sns:ListSubscriptionsByTopic", "sns:ListTopics"],
};
const makeQueue = ["sqs:CreateQueue", "sqs:GetQueueUrl", "sqs:GetQueueAttributes", "sqs:SetQueueAttributes"];
const sendTo = ["sqs:SendMessage", "sqs:GetQueueUrl"];
const readFrom = [
  "sqs:ReceiveMessage",
  "sqs:DeleteMessage",
  "sqs:ChangeMessageVisibility",
  "sqs:GetQueueUrl",
  "sqs:GetQueueAttributes",
];
/** n.b. Every member of a group also sends to its own entry and to its dead letters. */
const queueActions: Actions = { provision: makeQueue, consume: [...readFrom, "sqs:SendMessage"] };
const waitingActions: Actions = {
  provision: makeQueue,
  publish: [...sendTo, ...readFrom.slice(0, 3)],
  consume: [...sendTo, ...readFrom.slice(0, 3)],
};
const subscriptionActions: Actions = {
  provision: ["sns:Subscribe", "sns:ListSubscriptionsByTopic", "sns:GetSubscriptionAttributes"],
};

/** The longest that a queue keeps anything. */
const longestRetention = 1_209_600;

/** Everything that must exist on the broker, in an order in which it can be made. Pure. */
export function topology(declaration: Declaration, names: Names, settings: Settings): readonly Resource[] {
  const resources: Resource[] = [];
  if (declaration.topics.some((topic) => topic.delays)) resources.push(waitingQueue(names, settings));
  for (const topic of declaration.topics) {
    resources.push(topicResource(topic, names, settings));
    for (const group of topic.groups) resources.push(...groupResources(topic, group, names, settings));
  }
  return resources;
}

function waitingQueue(names: Names, settings: Settings): Resource {
  return {
    kind: "queue",
    name: names.waiting(),
    settings: {
      MessageRetentionPeriod: longestRetention,
      MaximumMessageSize: queueBytes,
      VisibilityTimeout: settings.visibilitySeconds,
    },
    shared: true,
    actions: waitingActions,
  };
}

function topicResource({ name, ordered }: DeclaredTopic, names: Names, { maxMessageBytes }: Settings): Resource {
  return {
    kind: "topic",
    name: names.topic(name, ordered),
    settings: {
      // A key's order needs no other key's: the throughput of the whole topic is not that of one group of messages.
      ...(ordered && { FifoTopic: true, ContentBasedDeduplication: false, FifoThroughputScope: "MessageGroup" }),
      ...(maxMessageBytes > 262_144 && { MaximumMessageSize: maxMessageBytes }),
      topic: name,
    },
    actions: topicActions,
  };
}

function groupResources(
  topic: DeclaredTopic,
  group: DeclaredGroup,
  names: Names,
  settings: Settings,
): readonly Resource[] {
  const { ordered } = topic;
  const queue = names.queue(topic.name, group.name, ordered);
  const deadLetters = names.deadLetters(topic.name, group.name, ordered);
  const fifo = ordered
    ? {
        FifoQueue: true,
        ContentBasedDeduplication: false,
        DeduplicationScope: "messageGroup",
        FifoThroughputLimit: "perMessageGroupId",
      }
    : {};
  const common = {
    MaximumMessageSize: queueBytes,
    VisibilityTimeout: settings.visibilitySeconds,
    ...fifo,
    // Its policy lets this topic in.
    topic: names.topic(topic.name, ordered),
  };
  return [
    {
      // Also for groups without dead letters: it is where the broker itself puts what was received too often.
      kind: "queue",
      name: deadLetters,
      settings: { MessageRetentionPeriod: longestRetention, ...common },
      actions: queueActions,
    },
    {
      kind: "queue",
      name: queue,
      settings: {
        MessageRetentionPeriod: settings.retentionSeconds,
        ...common,
        deadLetters,
        maxReceiveCount: settings.maxReceiveCount,
      },
      actions: queueActions,
    },
    {
      kind: "subscription",
      name: queue,
      settings: {
        topic: names.topic(topic.name, ordered),
        queue,
        deadLetters,
        RawMessageDelivery: true,
        ...(group.filter && { FilterPolicy: filterPolicy(group.filter), FilterPolicyScope: "MessageAttributes" }),
      },
      actions: subscriptionActions,
    },
  ];
}
