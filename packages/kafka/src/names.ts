import type { Destination, Source } from "@sluice/core/driver";
import { tiers } from "./delays.ts";

/** Longest legal name of a topic on every broker. */
export const maxTopicName = 249;

/**
 * A group's part of a name. Without dots in it the last two parts of `<topic>.<group>.retry` are unambiguous, although topics have
 * dots: topic "a.b" of group "c" and topic "a" of group "b.c" stay apart.
 */
function groupPart(group: string): string {
  return group.replaceAll(".", "_-");
}

export function retryTopic(topic: string, group: string): string {
  return `${topic}.${groupPart(group)}.retry`;
}

export function deadLetterTopic(topic: string, group: string): string {
  return `${topic}.${groupPart(group)}.dlq`;
}

export function delayTopic(namespace: string, tier: string): string {
  return `${namespace}.delay.${tier}`;
}

/** Length of the waiting place with this name. */
export function tierMsOf(namespace: string, topic: string): number {
  return tiers.find(({ name }) => delayTopic(namespace, name) === topic)?.ms ?? 0;
}

/** Where an item without delay is appended. */
export function topicOf(to: Destination): string {
  if (to.group === undefined) return to.topic;
  return to.deadLetter ? deadLetterTopic(to.topic, to.group) : retryTopic(to.topic, to.group);
}

/** The Kafka topics that a source reads. */
export function topicsOf(source: Source, namespace: string): readonly string[] {
  if ("delayed" in source) return tiers.map(({ name }) => delayTopic(namespace, name));
  if ("broadcast" in source) return [source.topic];
  if (source.deadLetter) return [deadLetterTopic(source.topic, source.group)];
  return [source.topic, retryTopic(source.topic, source.group)];
}

/** One Kafka group per source: a rebalance or a lost topic of one source leaves the others alone. */
export function groupIdOf(source: Source, namespace: string): string {
  if ("delayed" in source) return `${namespace}.delay`;
  if ("broadcast" in source) return `${source.broadcast}.${source.instance}.${source.topic}`;
  const group = groupPart(source.group);
  return source.deadLetter ? `${group}.${source.topic}.dlq` : `${group}.${source.topic}`;
}
