import { type Declaration, DriverError, type Resource } from "@sluice/core/driver";
import { tiers } from "./delays.ts";
import { deadLetterTopic, delayTopic, groupIdOf, maxTopicName, retryTopic } from "./names.ts";

const dayMs = 86_400_000;
/** A record that waits may be late by as long as its reader is down. */
const waitingSlackMs = 7 * dayMs;
const deadLetterRetentionMs = 30 * dayMs;

/**
 * The Kafka topics of a declaration. Own entries get a quarter of the topic's partitions, since only retries and redrives go
 * there; dead letters one, so that they are listed in order.
 *
 * @throws DriverError `CONFIG` when two things would share a name, or a name is too long
 */
export function topologyOf(declaration: Declaration, namespace: string): readonly Resource[] {
  const resources = new Map<string, Resource>();
  const add = (name: string, settings: Resource["settings"], shared = false): void => {
    if (name.length > maxTopicName) {
      throw new DriverError(
        "CONFIG",
        `kafka: topic name "${name}" has ${name.length} characters, above the ${maxTopicName} that Kafka takes; shorten the topic or the group`,
      );
    }
    if (resources.has(name)) {
      throw new DriverError(
        "CONFIG",
        `kafka: two things of this declaration would share the topic "${name}"; rename a topic or a group`,
      );
    }
    resources.set(name, { kind: "topic", name, settings, ...(shared ? { shared } : {}) });
  };
  const groups: Resource[] = [];
  for (const topic of declaration.topics) {
    add(topic.name, { partitions: topic.shards });
    for (const group of topic.groups) {
      const quarter = Math.ceil(topic.shards / 4);
      // A group always reads its own entry, because redrives arrive there.
      add(retryTopic(topic.name, group.name), { partitions: quarter });
      if (group.start === "now") groups.push(groupOf(topic.name, group.name));
      if (group.deadLetter) {
        add(deadLetterTopic(topic.name, group.name), { partitions: 1, "retention.ms": deadLetterRetentionMs });
      }
    }
  }
  if (declaration.topics.some(({ delays }) => delays)) {
    for (const { name, ms } of tiers) {
      const settings = { partitions: 1, "retention.ms": ms + waitingSlackMs, "cleanup.policy": "delete" };
      add(delayTopic(namespace, name), settings, true);
    }
  }
  return [...resources.values(), ...groups];
}

/** A group that begins "now" has to be written down, or what is sent before its first reader would be lost to it. */
function groupOf(topic: string, group: string): Resource {
  const source = { topic, group, start: "now" } as const;
  return { kind: "group", name: groupIdOf(source, ""), settings: { topic, start: "now" } };
}
