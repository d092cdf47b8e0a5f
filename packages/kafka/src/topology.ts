import type { Declaration, DeclaredTopic, Resource } from "@sluice/core/driver";
import { tiers } from "./delays.ts";
import type { Names } from "./names.ts";

const dayMs = 86_400_000;
/** A record that waits may be late by as long as its reader is down. */
const waitingSlackMs = 7 * dayMs;
const deadLetterRetentionMs = 30 * dayMs;

/** ACL operations on a topic, by role. A sender needs DescribeConfigs to know size limits, else it goes by the default. */
const provision = ["Create", "Describe", "DescribeConfigs"] as const;
const publish = ["Write", "Describe", "DescribeConfigs"] as const;
const consume = ["Read", "Describe"] as const;

/**
 * The Kafka topics of a declaration. Own entries get a quarter of the topic's partitions, since only retries and redrives go
 * there; dead letters one, so that they are listed in order.
 *
 * @throws DriverError `CONFIG` for a name that is too long
 */
export function topologyOf(declaration: Declaration, names: Names): readonly Resource[] {
  const resources = declaration.topics.flatMap((topic) => resourcesOf(topic, names));
  if (!declaration.topics.some(({ delays }) => delays)) return resources;
  const places = tiers.map(({ name, ms }): Resource => {
    const settings = { partitions: 1, "retention.ms": ms + waitingSlackMs, "cleanup.policy": "delete" };
    const actions = { provision, publish, consume: [...consume, "Write"] };
    return { kind: "topic", name: names.delay(name), settings, shared: true, actions };
  });
  const forwarders = names.groupId({ delayed: true });
  const reading: Resource = { kind: "group", name: forwarders, settings: {}, shared: true, actions: { consume } };
  return [...resources, ...places, reading];
}

function resourcesOf(topic: DeclaredTopic, names: Names): readonly Resource[] {
  const name = names.topic(topic.name);
  const own = topic.groups.flatMap((group): Resource[] => {
    const source = { topic: topic.name, group: group.name, start: group.start } as const;
    const deadLetter: Resource = {
      kind: "topic",
      name: names.deadLetter(topic.name, group.name),
      settings: { partitions: 1, "retention.ms": deadLetterRetentionMs },
      actions: { provision, consume: [...consume, "Write"] },
    };
    return [
      // A group always reads its own entry, because redrives arrive there.
      {
        kind: "topic",
        name: names.retry(topic.name, group.name),
        settings: { partitions: Math.ceil(topic.shards / 4) },
        actions: { provision, consume: [...consume, "Write"] },
      },
      ...(group.deadLetter ? [deadLetter] : []),
      {
        kind: "group",
        name: names.groupId(source),
        // A group that begins "now" has to be written down, or what is sent before its first reader would be lost to it.
        settings: { topic: name, start: group.start },
        ...(names.sharedGroups ? { shared: true } : {}),
        actions: { provision: consume, consume },
      },
      ...(group.deadLetter ? [redrives(topic.name, group.name, names)] : []),
    ];
  });
  return [
    { kind: "topic", name, settings: { partitions: topic.shards }, actions: { provision, publish, consume } },
    ...own,
  ];
}

/** The Kafka group that remembers which dead letters were put back. */
function redrives(topic: string, group: string, names: Names): Resource {
  const name = names.groupId({ topic, group, deadLetter: true });
  return { kind: "group", name, settings: {}, actions: { consume } };
}
