import {
  type Declaration,
  type DeclaredGroup,
  type DeclaredTopic,
  DriverError,
  type Resource,
} from "@sluice/core/driver";
import { bindingActions, dueBinding, ladder } from "./delay-ladder.ts";
import type { Names } from "./names.ts";
import type { Settings } from "./options.ts";
import { hashBits, shardName, shardPatterns } from "./routing.ts";

/** Everything that must exist on the broker, in an order in which it can be made. Pure. */
export function topology(declaration: Declaration, names: Names, settings: Settings): readonly Resource[] {
  const resources: Resource[] = [];
  if (declaration.topics.some((topic) => topic.delays)) resources.push(...ladder(names));
  for (const topic of declaration.topics) {
    const exchange = names.exchange(topic.name);
    resources.push({
      kind: "exchange",
      name: exchange,
      settings: { type: "topic", durable: true },
      actions: topicActions,
    });
    if (topic.delays) resources.push(dueBinding(names, exchange, "exchange"));
    for (const group of topic.groups) resources.push(...groupResources(topic, group, exchange, names, settings));
  }
  return resources;
}

function groupResources(
  topic: DeclaredTopic,
  group: DeclaredGroup,
  exchange: string,
  names: Names,
  settings: Settings,
): readonly Resource[] {
  const deadLetters = names.deadLetters(topic.name, group.name);
  const base = names.queue(topic.name, group.name);
  // Also for groups without dead letters: it is where the broker's own delivery limit puts what would otherwise be dropped.
  const resources: Resource[] = [
    { kind: "queue", name: deadLetters, settings: deadLetterQueue, actions: deadLetterActions },
  ];
  if (topic.ordered) {
    const members = names.members(topic.name, group.name);
    resources.push({ kind: "queue", name: members, settings: membersQueue, actions: membersActions });
  }
  const bits = topic.ordered ? shardBits(topic) : 0;
  const shards = topic.ordered ? 2 ** bits : 1;
  for (let shard = 0; shard < shards; shard++) {
    const queue = topic.ordered ? `${base}.${shardName(shard, bits)}` : base;
    const patterns = topic.ordered ? shardPatterns(shard, bits, topic.name) : ["#"];
    resources.push({
      kind: "queue",
      name: queue,
      settings: workQueue(deadLetters, topic.ordered, settings),
      actions: workActions,
    });
    if (topic.delays) resources.push(dueBinding(names, queue, "queue"));
    for (const pattern of patterns) {
      resources.push({
        kind: "binding",
        name: `${exchange} -> queue ${queue} (${pattern})`,
        settings: { source: exchange, destination: queue, to: "queue", pattern },
        actions: bindingActions(exchange, queue),
      });
    }
  }
  // Another number of shards would leave the old queues bound and unread: looked for when a queue has to be made.
  return [{ kind: "shards", name: base, settings: { bits: topic.ordered ? bits : -1, deadLetters } }, ...resources];
}

/** Rights are the broker's three, on the resource itself unless another name follows. Broadcasts bind their own queue: `read`. */
type Actions = NonNullable<Resource["actions"]>;

const topicActions: Actions = { provision: ["configure", "read", "write"], publish: ["write"], consume: ["read"] };

/** n.b. who declares a queue that dead-letters needs to read it, and to write to where it dead-letters. Moves go by queue name. */
const workActions: Actions = {
  provision: ["configure", "read", "write", "write amq.default"],
  consume: ["read", "write amq.default"],
};

const deadLetterActions: Actions = { provision: ["configure"], consume: ["read", "write amq.default"] };

const membersActions: Actions = { provision: ["configure"], consume: ["read"] };

/** Powers of two only: a shard is a prefix of hash bits. Other numbers are rounded up. */
function shardBits(topic: DeclaredTopic): number {
  const bits = Math.ceil(Math.log2(Math.max(1, topic.shards)));
  if (bits <= hashBits) return bits;
  throw new DriverError(
    "CONFIG",
    `rabbitmq: topic "${topic.name}" wants ${topic.shards} shards; ${2 ** hashBits} is the most`,
  );
}

function workQueue(deadLetters: string, ordered: boolean, settings: Settings): Resource["settings"] {
  const common = {
    durable: true,
    "x-queue-type": settings.queueType,
    "x-dead-letter-exchange": "",
    "x-dead-letter-routing-key": deadLetters,
    // The default drops the oldest message of a full queue and confirms the new one.
    "x-overflow": "reject-publish",
    ...(ordered ? { "x-single-active-consumer": true } : {}),
  };
  if (settings.queueType === "classic") return common;
  return { ...common, "x-dead-letter-strategy": "at-least-once", "x-delivery-limit": settings.deliveryLimit };
}

/** n.b. without an own limit 4.x drops a dead letter that was looked at 20 times; older versions refuse "unlimited" (-1). */
const deadLetterQueue: Resource["settings"] = {
  durable: true,
  "x-queue-type": "quorum",
  "x-overflow": "reject-publish",
  "x-delivery-limit": 2_000_000_000,
};

/** Holds nothing; one replica of nothing is enough. */
const membersQueue: Resource["settings"] = { durable: true, "x-queue-type": "classic" };
