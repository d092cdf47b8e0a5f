import { DriverError } from "@sluice/core/driver";

/** AMQP keeps exchange, queue and routing names in one length byte. */
const longestName = 255;

/** First words of the delay ladder's names: topics that begin so are refused. */
const ladderWords = "sluice.delay";

/**
 * The names of everything on the broker. Pure; the same words always give the same name, and different topics, groups or roles never
 * the same one: a topic may have several words, a group is one, and the last word says what it is.
 */
export interface Names {
  readonly exchange: (topic: string) => string;
  /** The queue of an unordered group, and the beginning of the names of an ordered one's. */
  readonly queue: (topic: string, group: string) => string;
  readonly deadLetters: (topic: string, group: string) => string;
  /** Consumed by every instance of an ordered group, so that they can be counted. Nothing is ever sent there. */
  readonly members: (topic: string, group: string) => string;
  readonly broadcast: (topic: string, name: string, instance: string, count: number) => string;
  /** Exchange and queue of one step of the delay ladder. */
  readonly ladder: (level: number) => string;
  /** Where the ladder ends. */
  readonly due: () => string;
}

/** @param prefix stands before every name */
export function names(prefix: string): Names {
  const base = (topic: string) => {
    const name = `${prefix}${topic}`;
    // Exchange `amq.topic` exists: whatever others send there would arrive here.
    if (name.startsWith("amq.")) throw reserved(topic, 'names beginning with "amq." belong to the broker');
    if (`${topic}.`.startsWith(`${ladderWords}.`)) throw reserved(topic, "it is the delay ladder's name");
    return name;
  };
  const queue = (topic: string, group: string) => checked(`${base(topic)}.${word(group)}`);
  return {
    exchange: (topic) => checked(base(topic)),
    queue,
    deadLetters: (topic, group) => checked(`${queue(topic, group)}.dlq`),
    members: (topic, group) => checked(`${queue(topic, group)}.members`),
    broadcast: (topic, name, instance, count) => checked(`${base(topic)}.${word(name)}.${word(instance)}.b${count}`),
    // n.b. not the bare number: topic `sluice` with an ordered group `delay` has the queue `sluice.delay.0`.
    ladder: (level) => `${prefix}${ladderWords}.${2 ** level}s`,
    due: () => `${prefix}${ladderWords}.due`,
  };
}

/**
 * Groups stay one word, so that topic `a.b` with group `c` and topic `a` with group `b.c` never meet in one queue; and never look
 * like the last word of another name (`dlq`, shard bits, a broadcast's counter).
 */
function word(group: string): string {
  const escaped = group.replaceAll("%", "%25").replaceAll(".", "%2E");
  if (!/^(dlq|all|members|b?\d+)$/.test(escaped)) return escaped;
  return `%${escaped.charCodeAt(0).toString(16)}${escaped.slice(1)}`;
}

function checked(name: string): string {
  if (Buffer.byteLength(name) <= longestName && name.isWellFormed()) return name;
  throw new DriverError(
    "CONFIG",
    `rabbitmq: the name "${name.slice(0, 60)}…" has ${Buffer.byteLength(name)} bytes; shorten topic, group or prefix (${longestName} in all)`,
  );
}

function reserved(topic: string, why: string): DriverError {
  return new DriverError(
    "CONFIG",
    `rabbitmq: topic "${topic}" cannot be used: ${why}; choose another name or a prefix`,
  );
}
