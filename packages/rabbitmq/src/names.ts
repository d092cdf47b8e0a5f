import { DriverError } from "@sluice/core/driver";

/** AMQP keeps exchange, queue and routing names in one length byte. */
const longestName = 255;

/** The names of everything on the broker. Pure; the same words always give the same name. */
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

export function names(namespace: string): Names {
  const prefix = namespace === "" ? "" : `${namespace}.`;
  const ladder = `${namespace === "" ? "sluice" : namespace}.delay`;
  const queue = (topic: string, group: string) => checked(`${prefix}${topic}.${word(group)}`);
  return {
    exchange: (topic) => checked(`${prefix}${topic}`),
    queue,
    deadLetters: (topic, group) => checked(`${queue(topic, group)}.dlq`),
    members: (topic, group) => checked(`${queue(topic, group)}.members`),
    broadcast: (topic, name, instance, count) => checked(`${prefix}${topic}.${word(name)}.${word(instance)}.b${count}`),
    ladder: (level) => `${ladder}.${level}`,
    due: () => `${ladder}.due`,
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
    `rabbitmq: the name "${name.slice(0, 60)}…" has ${Buffer.byteLength(name)} bytes; shorten topic, group or namespace (${longestName} in all)`,
  );
}
