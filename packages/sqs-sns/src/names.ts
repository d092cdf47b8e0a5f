import { createHash } from "node:crypto";

/** What a queue name may hold, `.fifo` included. */
const queueCharacters = 80;
/** The same of a topic name. */
const topicCharacters = 256;

/** The names of everything on the broker. Pure; the same words always give the same name, other words another one. */
export interface Names {
  readonly topic: (topic: string, fifo: boolean) => string;
  /** The group's queue: what the topic sends to it, and its own entry. */
  readonly queue: (topic: string, group: string, fifo: boolean) => string;
  readonly deadLetters: (topic: string, group: string, fifo: boolean) => string;
  /** Where everything waits whose delay the destination itself cannot keep. One for all topics. */
  readonly waiting: () => string;
  readonly broadcast: (topic: string, name: string, instance: string, fifo: boolean) => string;
  /** What the names of all broadcast queues begin with, and no other name. */
  readonly broadcasts: string;
}

export function names(prefix: string): Names {
  const group = (topic: string, name: string) => `${prefix}${word(topic)}_to-${word(name)}`;
  const broadcasts = `${prefix}sluice_broadcast-`;
  return {
    topic: (topic, fifo) => fit(`${prefix}${word(topic)}`, ending("", fifo), topicCharacters),
    queue: (topic, name, fifo) => fit(group(topic, name), ending("", fifo), queueCharacters),
    deadLetters: (topic, name, fifo) => fit(group(topic, name), ending("_dlq", fifo), queueCharacters),
    waiting: () => `${prefix}sluice_delayed`,
    // Their words are in the queue's tags: a name of 80 characters has no room for an instance's id.
    broadcast: (topic, name, instance, fifo) =>
      `${broadcasts}${digest(`${topic}\n${name}\n${instance}`)}${ending("", fifo)}`,
    broadcasts,
  };
}

/** `.` is no letter of theirs, and `_` begins what we add: so neither stays as it is. */
function word(name: string): string {
  return name.replaceAll("_", "__").replaceAll(".", "_-");
}

function ending(role: string, fifo: boolean): string {
  return fifo ? `${role}.fifo` : role;
}

/** Too long a name ends in the digest of the whole; `_h` is in no other name, so none of those is met. */
function fit(name: string, end: string, most: number): string {
  if (name.length + end.length <= most) return `${name}${end}`;
  const tail = `_h-${digest(name)}${end}`;
  return `${name.slice(0, most - tail.length).replace(/_+$/, "")}${tail}`;
}

const letters = "abcdefghijklmnopqrstuvwxyz234567";

/** 130 bits in 26 lower-case letters and digits. */
function digest(text: string): string {
  let rest = BigInt(`0x${createHash("sha256").update(text).digest("hex").slice(0, 33)}`);
  let word = "";
  for (let index = 0; index < 26; index++) {
    word += letters[Number(rest & 31n)];
    rest >>= 5n;
  }
  return word;
}
