import type { Declaration, DeclaredGroup, DeclaredTopic, Resource } from "@sluice/core/driver";
import { queueBytes } from "./capabilities.ts";
import type { Names } from "./names.ts";
import type { Settings } from "./options.ts";
import { filterPolicy } from "./policy.ts";

type Actions = NonNullable<Resource["actions"]>;

const lookAtTopic = ["sns:GetTopicAttributes", "sns:ListSubscriptionsByTopic", "sns:ListTopics"];
const publishTo = ["sns:Publish", ...lookAtTopic];
const lookAtQueue = ["sqs:GetQueueUrl", "sqs:GetQueueAttributes"];
const sendTo = ["sqs:SendMessage", ...lookAtQueue];
const readFrom = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility", ...sendTo];
/** The service's own move needs the rights of whoever starts it: to read here, and to send to the group's queue. */
const moveBack = ["sqs:StartMessageMoveTask", "sqs:ListMessageMoveTasks", "sqs:CancelMessageMoveTask"];
const makeQueue = ["sqs:CreateQueue", "sqs:SetQueueAttributes", ...lookAtQueue];
const lookAtSubscription = ["sns:ListSubscriptionsByTopic", "sns:GetSubscriptionAttributes"];

/**
 * What each role may have to do, as IAM says it; `verify` looks at everything. Every member of a group also sends to its own entry and
 * to its dead letters. n.b. Whoever uses delays reads the one waiting queue, and sends on what others left there: members of groups
 * to the topic itself, publishers to the FIFO queues of groups, which keep no delay themselves.
 */
function actionsOf({ ordered, delays }: DeclaredTopic) {
  const makeTopic = ["sns:CreateTopic", "sns:Subscribe", ...lookAtTopic];
  return {
    topic: { provision: makeTopic, publish: publishTo, consume: delays ? publishTo : lookAtTopic },
    queue: { provision: makeQueue, publish: ordered && delays ? sendTo : lookAtQueue, consume: readFrom },
    deadLetters: { provision: makeQueue, publish: lookAtQueue, consume: [...readFrom, ...moveBack] },
    subscription: {
      provision: ["sns:Subscribe", ...lookAtSubscription],
      publish: lookAtSubscription,
      consume: lookAtSubscription,
    },
  } satisfies Readonly<Record<string, Actions>>;
}

const waitingActions: Actions = { provision: makeQueue, publish: readFrom, consume: readFrom };

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

function topicResource(declared: DeclaredTopic, names: Names, { maxMessageBytes }: Settings): Resource {
  const { name, ordered } = declared;
  return {
    kind: "topic",
    name: names.topic(name, ordered),
    settings: {
      // A key's order needs no other key's: the throughput of the whole topic is not that of one group of messages.
      ...(ordered && { FifoTopic: true, ContentBasedDeduplication: false, FifoThroughputScope: "MessageGroup" }),
      ...(maxMessageBytes > 262_144 && { MaximumMessageSize: maxMessageBytes }),
      topic: name,
    },
    actions: actionsOf(declared).topic,
  };
}

function groupResources(
  topic: DeclaredTopic,
  group: DeclaredGroup,
  names: Names,
  settings: Settings,
): readonly Resource[] {
  const { ordered } = topic;
  const actions = actionsOf(topic);
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
      actions: actions.deadLetters,
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
      actions: actions.queue,
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
      actions: actions.subscription,
    },
  ];
}
