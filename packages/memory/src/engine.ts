import { DriverError } from "@sluice/core/driver";
import type { BroadcastSource, Destination, Runtime, Source, Start } from "@sluice/core/driver";
import { DeadLetters } from "./dead-letters.ts";
import { Mailbox } from "./mailbox.ts";
import type { Feed, Member } from "./mailbox.ts";
import { Fifo, Heap } from "./queue.ts";
import { MemoryMessage } from "./record.ts";
import type { StoredRecord } from "./record.ts";

export interface Group {
  readonly mailbox: Mailbox;
  ownEntry: boolean;
  deadLetters: DeadLetters | undefined;
  /** Records on their way to its own entry. */
  delayed: number;
}

export interface Topic {
  readonly name: string;
  readonly ordered: boolean;
  readonly shards: number;
  readonly groups: Map<string, Group>;
  readonly instances: Map<Mailbox, BroadcastSource>;
  /** Raw readers beside all groups. */
  readonly watchers: Set<(record: StoredRecord) => void>;
  readonly history: Fifo<{ readonly record: StoredRecord; readonly native: MemoryMessage }>;
  historyBytes: number;
  /** Broadcast instances that were cut off, with `sent` at that moment: the rest is their gap. */
  readonly cut: Map<string, number>;
  sent: number;
  /** Records on their way to all groups. */
  delayed: number;
}

/** A connection as the broker sees it. */
export interface Attached {
  readonly runtime: Runtime;
  readonly clientName: string;
  disconnect(error: DriverError): void;
}

interface Delayed {
  readonly dueMs: number;
  readonly order: number;
  readonly to: Destination;
  readonly record: StoredRecord;
}

/** The longest time that a timer of Node takes; a longer one fires at once. */
export const longestTimerMs: number = 2 ** 31 - 1;

/** The broker's inside: topics and groups, where a record goes, and when. Knows nothing of senders and receivers. */
export class Engine {
  readonly topics: Map<string, Topic> = new Map();
  readonly attached: Set<Attached> = new Set();
  /** While set, nobody can connect. */
  outage: DriverError | undefined;
  readonly #historyRecords: number;
  readonly #historyBytes: number;
  readonly #delayed = new Heap<Delayed>((left, right) =>
    left.dueMs === right.dueMs ? left.order < right.order : left.dueMs < right.dueMs,
  );
  #order = 0;
  #cancelAlarm: (() => void) | undefined;
  /** The clock of the connection that is attached longest. */
  #clock: Runtime | undefined;
  #lastWallMs = 0;

  constructor(historyRecords: number, historyBytes: number) {
    this.#historyRecords = historyRecords;
    this.#historyBytes = historyBytes;
  }

  /** The broker has no clock of its own: it borrows that of a connection, and sleeps while there is none. */
  attach(connection: Attached): void {
    this.attached.add(connection);
    this.#clock ??= connection.runtime;
    this.#moveDue();
  }

  detach(connection: Attached): void {
    this.#lastWallMs = connection.runtime.wallMs();
    this.attached.delete(connection);
    const [oldest] = this.attached;
    this.#clock = oldest?.runtime;
    this.#arm();
  }

  wallMs(): number {
    return this.#clock === undefined ? this.#lastWallMs : this.#clock.wallMs();
  }

  createTopic(name: string, ordered: boolean, shards: number): void {
    this.topics.set(name, {
      name,
      ordered,
      shards,
      groups: new Map(),
      instances: new Map(),
      watchers: new Set(),
      history: new Fifo(),
      historyBytes: 0,
      cut: new Map(),
      sent: 0,
      delayed: 0,
    });
  }

  createGroup(topic: Topic, name: string, start: Start): Group {
    const names = Array.from({ length: topic.shards }, (_, index) => JSON.stringify([topic.name, name, index]));
    const mailbox = new Mailbox(names, topic.ordered);
    if (start === "earliest") for (const { record, native } of topic.history) mailbox.add(record, native, false);
    const group: Group = { mailbox, ownEntry: false, deadLetters: undefined, delayed: 0 };
    topic.groups.set(name, group);
    return group;
  }

  /** Throws `NOT_FOUND`. */
  topic(name: string): Topic {
    const topic = this.topics.get(name);
    if (topic === undefined) throw missing(`topic "${name}"`);
    return topic;
  }

  /** Throws `NOT_FOUND`. */
  group(topic: string, name: string): Group {
    const group = this.topic(topic).groups.get(name);
    if (group === undefined) throw missing(`group "${name}" of topic "${topic}"`);
    return group;
  }

  addDeadLetters(group: Group): void {
    group.deadLetters ??= new DeadLetters();
  }

  /** The dead letters of a group. Throws `NOT_FOUND`. */
  deadLetters(topic: string, name: string): DeadLetters {
    const { deadLetters } = this.group(topic, name);
    if (deadLetters === undefined) throw missing(`dead letters of group "${name}" of topic "${topic}"`);
    return deadLetters;
  }

  /**
   * Opens a queue for one broadcast instance; it goes with its reader.
   * @returns also how many records were sent since the same instance was cut off
   */
  joinBroadcast(topic: Topic, source: BroadcastSource, member: Member): { feed: Feed; missed: number } {
    const name = JSON.stringify([topic.name, source.broadcast, source.instance]);
    const mailbox = new Mailbox([name], topic.ordered, (broken) => {
      topic.instances.delete(mailbox);
      if (broken) rememberCut(topic, name);
    });
    mailbox.setFilter(source.filter);
    topic.instances.set(mailbox, source);
    const missed = topic.sent - (topic.cut.get(name) ?? topic.sent);
    topic.cut.delete(name);
    return { feed: mailbox.join(member), missed };
  }

  /** Where the records of a source wait. Throws `NOT_FOUND`, or `UNSUPPORTED` for a waiting place. */
  waitingPlace(source: Source): Mailbox | DeadLetters {
    if ("delayed" in source) throw new DriverError("UNSUPPORTED", "memory: has no waiting places; ask for a group");
    if ("group" in source) {
      return source.deadLetter
        ? this.deadLetters(source.topic, source.group)
        : this.group(source.topic, source.group).mailbox;
    }
    for (const [mailbox, open] of this.topic(source.topic).instances) {
      if (open.broadcast === source.broadcast && open.instance === source.instance) return mailbox;
    }
    throw missing(`broadcast "${source.broadcast}" (instance "${source.instance}") of topic "${source.topic}"`);
  }

  /** How many records are on their way to a source. */
  delayedFor(source: Source): number {
    if (source.topic === undefined || ("deadLetter" in source && source.deadLetter)) return 0;
    const topic = this.topic(source.topic);
    return topic.delayed + ("group" in source ? this.group(source.topic, source.group).delayed : 0);
  }

  /** Why nobody would keep a record that is sent there. */
  refusal(to: Destination): { outcome: "unroutable" | "not-stored"; error: DriverError } | undefined {
    const topic = this.topics.get(to.topic);
    if (to.group === undefined) {
      if (topic === undefined) return { outcome: "not-stored", error: missing(`topic "${to.topic}"`) };
      const readers = topic.groups.size + topic.instances.size + topic.watchers.size;
      return readers > 0 ? undefined : unroutable(`topic "${to.topic}" has no readers`);
    }
    const group = topic?.groups.get(to.group);
    const place = `${to.deadLetter ? "dead letters" : "an own entry"} of group "${to.group}" of topic "${to.topic}"`;
    const kept = to.deadLetter ? group?.deadLetters !== undefined : group?.ownEntry === true;
    return kept ? undefined : unroutable(`nobody keeps ${place}`);
  }

  /** Stores a record for which `refusal` had none, now or when it is due. */
  store(to: Destination, record: StoredRecord, notBefore: number | undefined): void {
    if (notBefore === undefined || notBefore <= this.wallMs()) return this.#deliver(to, record);
    this.#delayed.push({ dueMs: notBefore, order: ++this.#order, to, record });
    this.#countDelayed(to, 1);
    if (this.#delayed.peek()?.dueMs === notBefore) this.#arm();
  }

  #deliver(to: Destination, record: StoredRecord): void {
    const topic = this.topic(to.topic);
    const native = new MemoryMessage(topic.name, this.wallMs(), record.binaryHeaders);
    if (to.group === undefined) {
      topic.sent++;
      this.#remember(topic, record, native);
      for (const { mailbox } of topic.groups.values()) mailbox.add(record, native, false);
      for (const mailbox of topic.instances.keys()) mailbox.add(record, native, false);
      for (const watcher of topic.watchers) watcher(record);
      return;
    }
    const group = this.group(to.topic, to.group);
    if (to.deadLetter) group.deadLetters?.add(record, native);
    else group.mailbox.add(record, native, true);
  }

  #remember(topic: Topic, record: StoredRecord, native: MemoryMessage): void {
    if (this.#historyRecords === 0) return;
    topic.history.push({ record, native });
    topic.historyBytes += record.body?.byteLength ?? 0;
    while (topic.history.size > this.#historyRecords || topic.historyBytes > this.#historyBytes) {
      topic.historyBytes -= topic.history.shift()?.record.body?.byteLength ?? 0;
    }
  }

  /** n.b. a timer of Node may fire a millisecond early by the wall clock: what is not due yet waits for the next alarm. */
  #moveDue(): void {
    const now = this.wallMs();
    for (let next = this.#delayed.peek(); next !== undefined && next.dueMs <= now; next = this.#delayed.peek()) {
      this.#delayed.pop();
      this.#countDelayed(next.to, -1);
      this.#deliver(next.to, next.record);
    }
    this.#arm();
  }

  /** One timer for all delays: for the earliest, on one clock. */
  #arm(): void {
    this.#cancelAlarm?.();
    this.#cancelAlarm = undefined;
    const next = this.#delayed.peek();
    if (next === undefined || this.#clock === undefined) return;
    const waitMs = Math.min(Math.max(0, next.dueMs - this.wallMs()), longestTimerMs);
    this.#cancelAlarm = this.#clock.timer(waitMs, () => this.#moveDue());
  }

  #countDelayed(to: Destination, by: number): void {
    const topic = this.topic(to.topic);
    if (to.group === undefined) topic.delayed += by;
    else if (!to.deadLetter) this.group(to.topic, to.group).delayed += by;
  }
}

/** Bounded, because an instance that died never comes for its gap. */
function rememberCut(topic: Topic, name: string): void {
  topic.cut.set(name, topic.sent);
  const [oldest] = topic.cut.keys();
  if (topic.cut.size > 1_000 && oldest !== undefined) topic.cut.delete(oldest);
}

function missing(what: string): DriverError {
  return new DriverError("NOT_FOUND", `memory: ${what} does not exist; create it, or connect with provision: 'create'`);
}

function unroutable(why: string): { outcome: "unroutable"; error: DriverError } {
  const error = new DriverError("UNROUTABLE", `memory: ${why}; subscribe a group first, or declare it`);
  return { outcome: "unroutable", error };
}
