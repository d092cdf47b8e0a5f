import type { Declaration, DeclaredGroup, DeclaredTopic, Resource, Role } from "@sluice/core/driver";
import { toExpression } from "./filter.ts";
import { waitingRetentionMs } from "./inbox.ts";
import type { Names } from "./names.ts";
import type { Settings } from "./options.ts";

type Actions = Readonly<Partial<Record<Role, readonly string[]>>>;

/** `topics.get` for publishers: to see that somebody keeps what is sent. */
const topicActions: Actions = {
  provision: ["pubsub.topics.create", "pubsub.topics.get", "pubsub.topics.attachSubscription"],
  publish: ["pubsub.topics.publish", "pubsub.topics.get"],
};

const subscriptionActions: Actions = {
  provision: ["pubsub.subscriptions.create", "pubsub.subscriptions.get"],
  consume: ["pubsub.subscriptions.consume", "pubsub.subscriptions.get"],
};

/** Everything that must exist on the broker, in an order in which it can be made. Pure; names without the project. */
export function topology(declaration: Declaration, names: Names, settings: Settings): readonly Resource[] {
  const resources: Resource[] = [];
  if (declaration.topics.some((topic) => topic.delays)) resources.push(...waiting(names, settings));
  for (const topic of declaration.topics) {
    resources.push(topicResource(names.topic(topic.name), settings));
    for (const group of topic.groups) resources.push(...groupResources(topic, group, names, settings));
  }
  return resources;
}

function topicResource(name: string, { topicRetentionHours }: Settings): Resource {
  const settings = topicRetentionHours > 0 ? { retentionSeconds: topicRetentionHours * 3_600 } : {};
  return { kind: "topic", name, settings, actions: topicActions };
}

function subscriptionResource(name: string, own: Resource["settings"], settings: Settings): Resource {
  const common = { ackDeadlineSeconds: settings.leaseSeconds, retentionSeconds: settings.retentionDays * 86_400 };
  return { kind: "subscription", name, settings: { ...common, ...own }, actions: subscriptionActions };
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
  // The broker counts deliveries only where it may dead-letter; also for groups without dead letters of ours.
  const work = {
    ordered: topic.ordered,
    exactlyOnce: settings.exactlyOnce,
    deadLetterTopic: deadLetters,
    maxDeliveryAttempts: settings.deliveryLimit,
  };
  return [
    topicResource(deadLetters, settings),
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
      ? [topicResource(entry, settings), subscriptionResource(entry, { topic: entry, ...work }, settings)]
      : []),
  ];
}

/** One for all topics under a prefix. What waits there is read by whoever uses delays. */
function waiting(names: Names, settings: Settings): readonly Resource[] {
  const name = names.waiting();
  const resources = [
    topicResource(name, settings),
    subscriptionResource(name, { topic: name, retentionSeconds: waitingRetentionMs / 1_000 }, settings),
  ];
  return resources.map((resource) => ({ ...resource, shared: true }));
}
