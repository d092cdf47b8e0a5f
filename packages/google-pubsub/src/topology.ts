import type { Declaration, DeclaredGroup, DeclaredTopic, Resource, Role } from "@sluice/core/driver";
import { toExpression } from "./filter.ts";
import { waitingRetentionMs } from "./inbox.ts";
import type { Names } from "./names.ts";
import type { Settings } from "./options.ts";

type Actions = Readonly<Partial<Record<Role, readonly string[]>>>;

const makeTopic = ["pubsub.topics.create", "pubsub.topics.get", "pubsub.topics.attachSubscription"];
/** To see that somebody keeps what is sent; and `verify` looks at everything. */
const lookAtTopic = ["pubsub.topics.get"];
const sendTo = ["pubsub.topics.publish", ...lookAtTopic];
const lookAtSubscription = ["pubsub.subscriptions.get"];
const readFrom = ["pubsub.subscriptions.consume", ...lookAtSubscription];
const makeSubscription = ["pubsub.subscriptions.create", ...lookAtSubscription];

/**
 * What each role must be allowed to do. n.b. Whoever uses delays reads the one waiting place, and sends on what others left there:
 * members of groups to the topics themselves, publishers to the own entries of groups.
 */
function actionsOf(topic: DeclaredTopic) {
  return {
    topic: { provision: makeTopic, publish: sendTo, consume: topic.delays ? sendTo : lookAtTopic },
    entry: { provision: makeTopic, publish: topic.delays ? sendTo : lookAtTopic, consume: sendTo },
    deadLetters: { provision: makeTopic, publish: lookAtTopic, consume: sendTo },
  } satisfies Readonly<Record<string, Actions>>;
}

const waitingActions: Actions = { provision: makeTopic, publish: sendTo, consume: sendTo };
const readActions: Actions = { provision: makeSubscription, publish: lookAtSubscription, consume: readFrom };
const readWaitingActions: Actions = { provision: makeSubscription, publish: readFrom, consume: readFrom };

/** Everything that must exist on the broker, in an order in which it can be made. Pure; names without the project. */
export function topology(declaration: Declaration, names: Names, settings: Settings): readonly Resource[] {
  const resources: Resource[] = [];
  if (declaration.topics.some((topic) => topic.delays)) resources.push(...waiting(names, settings));
  for (const topic of declaration.topics) {
    resources.push(topicResource(names.topic(topic.name), actionsOf(topic).topic, settings));
    for (const group of topic.groups) resources.push(...groupResources(topic, group, names, settings));
  }
  return resources;
}

function topicResource(name: string, actions: Actions, { topicRetentionHours }: Settings): Resource {
  const settings = topicRetentionHours > 0 ? { retentionSeconds: topicRetentionHours * 3_600 } : {};
  return { kind: "topic", name, settings, actions };
}

function subscriptionResource(name: string, own: Resource["settings"], settings: Settings): Resource {
  const common = { ackDeadlineSeconds: settings.leaseSeconds, retentionSeconds: settings.retentionDays * 86_400 };
  return { kind: "subscription", name, settings: { ...common, ...own }, actions: readActions };
}

function groupResources(
  topic: DeclaredTopic,
  group: DeclaredGroup,
  names: Names,
  settings: Settings,
): readonly Resource[] {
  const main = names.group(topic.name, group.name);
  const entry = names.entry(topic.name, group.name);
  const deadLetters = names.deadLetters(topic.name, group.name);
  const filter = toExpression(group.filter);
  const actions = actionsOf(topic);
  // The broker counts deliveries only where it may dead-letter; also for groups without dead letters of ours.
  const work = {
    ordered: topic.ordered,
    exactlyOnce: settings.exactlyOnce,
    deadLetterTopic: deadLetters,
    maxDeliveryAttempts: settings.deliveryLimit,
  };
  return [
    topicResource(deadLetters, actions.deadLetters, settings),
    subscriptionResource(deadLetters, { topic: deadLetters }, settings),
    subscriptionResource(
      main,
      {
        topic: names.topic(topic.name),
        ...work,
        retainAcked: settings.retainAcked,
        ...(filter !== undefined && { filter }),
      },
      settings,
    ),
    ...(group.retry
      ? [
          topicResource(entry, actions.entry, settings),
          subscriptionResource(entry, { topic: entry, ...work }, settings),
        ]
      : []),
  ];
}

/** One for all topics under a prefix. What waits there is read by whoever uses delays. */
function waiting(names: Names, settings: Settings): readonly Resource[] {
  const name = names.waiting();
  const retention = { topic: name, retentionSeconds: waitingRetentionMs / 1_000 };
  return [
    { ...topicResource(name, waitingActions, settings), shared: true },
    { ...subscriptionResource(name, retention, settings), shared: true, actions: readWaitingActions },
  ];
}
