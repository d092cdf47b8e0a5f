import { DriverError } from "@sluice/core/driver";

/** Pub/Sub's own limit for the last part of a name. */
const longestName = 255;

/** Short names of everything on the broker; the project comes before. Pure; the same words always give the same name. */
export interface Names {
  readonly topic: (topic: string) => string;
  readonly group: (topic: string, group: string) => string;
  /** Topic and subscription of a group's own entry. */
  readonly entry: (topic: string, group: string) => string;
  /** Topic and subscription of a group's dead letters. */
  readonly deadLetters: (topic: string, group: string) => string;
  readonly broadcast: (topic: string, name: string, instance: string) => string;
  /** Topic and subscription of what is not due yet. */
  readonly waiting: () => string;
}

/**
 * A tilde is legal here and nowhere in the names of topics and groups: so no name of one kind is ever that of another, and the parts
 * of a name can be told apart.
 */
export function names(prefix: string): Names {
  const topic = (name: string) => checked(legal(`${prefix}${name}`));
  return {
    topic,
    group: (name, group) => checked(`${topic(name)}~${group}`),
    entry: (name, group) => checked(`${topic(name)}~${group}~retry`),
    deadLetters: (name, group) => checked(`${topic(name)}~${group}~dlq`),
    broadcast: (name, broadcast, instance) => checked(`${topic(name)}~${broadcast}~${instance}~broadcast`),
    waiting: () => checked(`${prefix}sluice~~delayed`),
  };
}

/** n.b. a name begins with a letter, not with "goog", and has three characters; others get a beginning that no other name has. */
function legal(name: string): string {
  return /^(?!goog)[A-Za-z].{2}/i.test(name) ? name : `sluice~~~${name}`;
}

function checked(name: string): string {
  if (name.length <= longestName) return name;
  throw new DriverError(
    "CONFIG",
    `google-pubsub: the name "${name.slice(0, 60)}…" has ${name.length} characters; shorten topic, group or prefix (${longestName} in all)`,
  );
}

/** `projects/P/topics/T`. */
export function topicPath(project: string, name: string): string {
  return `projects/${project}/topics/${name}`;
}

/** `projects/P/subscriptions/S`. */
export function subscriptionPath(project: string, name: string): string {
  return `projects/${project}/subscriptions/${name}`;
}

/** The last part of a path, for messages to people. */
export function shortName(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}
