import { type Destination, DriverError, type Source } from "@sluice/core/driver";
import { tiers } from "./delays.ts";

/** Longest legal name of a topic on every broker. */
export const maxTopicName = 249;
/** Begins the names of what the driver makes for itself. No topic of a user begins so. */
const own = "_";

/**
 * Names of topics and groups on the broker. Two different topics, groups or roles never share one: topics keep their name behind the
 * prefix, the driver's own ones begin with a sign that no topic begins with and end in a group without dots and its role. Ids
 * of groups may contain a colon, which topics may not.
 */
export class Names {
  readonly prefix: string;
  /** Whether all topics of a group share one Kafka group. */
  readonly sharedGroups: boolean;

  constructor(prefix: string, sharedGroups: boolean) {
    this.prefix = prefix;
    this.sharedGroups = sharedGroups;
  }

  topic(name: string): string {
    return legal(this.prefix + name);
  }

  retry(topic: string, group: string): string {
    return this.#own(`${topic}.${groupPart(group)}.retry`);
  }

  deadLetter(topic: string, group: string): string {
    return this.#own(`${topic}.${groupPart(group)}.dlq`);
  }

  /** A waiting place. */
  delay(tier: string): string {
    return this.#own(`sluice.delay.${tier}`);
  }

  /** Length of the waiting place with this name. */
  tierMs(topic: string): number {
    return tiers.find(({ name }) => this.delay(name) === topic)?.ms ?? 0;
  }

  /** Where an item without delay is appended. @throws DriverError `CONFIG` like all of these for a name that is too long */
  destination(to: Destination): string {
    if (to.group === undefined) return this.topic(to.topic);
    return to.deadLetter ? this.deadLetter(to.topic, to.group) : this.retry(to.topic, to.group);
  }

  /** The Kafka topics that a source reads. */
  topics(source: Source): readonly string[] {
    if ("delayed" in source) return tiers.map(({ name }) => this.delay(name));
    if ("broadcast" in source) return [this.topic(source.topic)];
    if (source.deadLetter) return [this.deadLetter(source.topic, source.group)];
    return [this.topic(source.topic), this.retry(source.topic, source.group)];
  }

  /** A Kafka group per topic, so that a rebalance or a lost topic of one leaves the others alone; or one for all, by option. */
  groupId(source: Source): string {
    const { prefix } = this;
    if ("delayed" in source) return `${prefix}sluice:delay`;
    if ("broadcast" in source) return `${prefix}${source.broadcast}:${source.instance}`;
    const group = prefix + groupPart(source.group);
    if (source.deadLetter) return `${group}.${source.topic}:dlq`;
    return this.sharedGroups ? group : `${group}.${source.topic}`;
  }

  #own(name: string): string {
    return legal(`${this.prefix}${own}${name}`);
  }
}

/** Without dots, and such that two groups never become one: `_` is doubled where it would read as the sign for a dot. */
function groupPart(group: string): string {
  return group.replaceAll(/_(?=[-_.])/g, "__").replaceAll(".", "_-");
}

function legal(topic: string): string {
  if (topic.length <= maxTopicName) return topic;
  throw new DriverError(
    "CONFIG",
    `kafka: topic name "${topic}" has ${topic.length} characters, above the ${maxTopicName} that Kafka takes; shorten the topic, the group or the prefix`,
  );
}
