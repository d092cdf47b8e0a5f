import { DriverError, emptyHeaders } from "@sluice/core/driver";
import type { Bytes, Headers, Key } from "@sluice/core/driver";
import { Engine } from "./engine.ts";
import { copyBytes, copyHeaders, copyKey } from "./record.ts";
import type { StoredRecord } from "./record.ts";

export type { StoredRecord } from "./record.ts";

export interface MemoryBrokerOptions {
  /**
   * Records that each topic remembers for groups that begin with `earliest`. 0 = none.
   * @default 1_000
   */
  readonly historyRecords?: number;
  /**
   * Body bytes of the same.
   * @default 1_048_576
   */
  readonly historyBytes?: number;
}

/** A record as a foreign program would write it. */
export interface RawRecord {
  readonly body: Bytes | null;
  /** @default undefined: a foreign record has none */
  readonly id?: string;
  /** @default null */
  readonly key?: Key;
  /** @default {} */
  readonly headers?: Readonly<Record<string, string>>;
  /** Header values that are not text. @default undefined */
  readonly binaryHeaders?: Readonly<Record<string, Bytes>>;
  /** Wall milliseconds. @default undefined */
  readonly time?: number;
}

/** How many records one group has, and where. */
export interface Depth {
  readonly ready: number;
  readonly inFlight: number;
  readonly delayed: number;
  readonly deadLetters: number;
}

/** The door for the driver's own modules. Not exported by the package. */
export let engineOf: (broker: MemoryBroker) => Engine;

/**
 * The broker itself: all state of `memory()`. Share one to let several buses see the same topics. Its methods are a raw
 * client: they read and write the stored records directly and use nothing of the driver.
 */
export class MemoryBroker {
  readonly #engine: Engine;

  constructor(options: MemoryBrokerOptions = {}) {
    const { historyRecords = 1_000, historyBytes = 1024 * 1024 } = options;
    this.#engine = new Engine(historyRecords, historyBytes);
  }

  static {
    engineOf = (broker) => broker.#engine;
  }

  /** Stores a record for every group and broadcast of a topic. Throws a DriverError: `NOT_FOUND`, `UNROUTABLE`. */
  publish(topic: string, record: RawRecord): void {
    this.#write({ topic }, record);
  }

  /** Stores a record in a group's dead letters. Throws a DriverError: `UNROUTABLE`. */
  publishDeadLetter(topic: string, group: string, record: RawRecord): void {
    this.#write({ topic, group, deadLetter: true }, record);
  }

  /**
   * Calls `listener` with every record that is stored for all groups of a topic from now on, until the returned function is
   * called. Like a broadcast it makes the topic routable. Throws `NOT_FOUND`.
   */
  watch(topic: string, listener: (record: StoredRecord) => void): () => void {
    const { watchers } = this.#engine.topic(topic);
    const watcher = (record: StoredRecord) => listener(copyRecord(record));
    watchers.add(watcher);
    return () => void watchers.delete(watcher);
  }

  /** What waits for a group, without what is handed out: own entry last. Takes nothing. Throws `NOT_FOUND`. */
  waiting(topic: string, group: string): readonly StoredRecord[] {
    return this.#engine
      .group(topic, group)
      .mailbox.waiting()
      .map(({ record }) => copyRecord(record));
  }

  /** A group's dead letters, without what a redrive holds. Takes nothing. Throws `NOT_FOUND`. */
  deadLetters(topic: string, group: string): readonly StoredRecord[] {
    return this.#engine
      .deadLetters(topic, group)
      .waiting()
      .map(({ record }) => copyRecord(record));
  }

  /** Throws `NOT_FOUND`. */
  depth(topic: string, group: string): Depth {
    const { mailbox, delayed, deadLetters } = this.#engine.group(topic, group);
    return {
      ready: mailbox.ready,
      inFlight: mailbox.inFlight,
      delayed: delayed + this.#engine.topic(topic).delayed,
      deadLetters: deadLetters === undefined ? 0 : deadLetters.ready + deadLetters.inFlight,
    };
  }

  /** Topics and their groups, as they exist now. */
  topics(): ReadonlyMap<string, readonly string[]> {
    return new Map([...this.#engine.topics].map(([name, { groups }]) => [name, [...groups.keys()]]));
  }

  /**
   * Cuts connections as a network would: what they hold is delivered again, and nothing they do is settled.
   * @param clientName only the connections of this client; default all
   * @returns how many were cut
   */
  disconnect(clientName?: string): number {
    const error = new DriverError("UNAVAILABLE", "memory: the broker closed the connection; connect again");
    const cut = [...this.#engine.attached].filter((each) => clientName === undefined || each.clientName === clientName);
    for (const connection of cut) connection.disconnect(error);
    return cut.length;
  }

  /** Cuts all connections and refuses new ones with `UNAVAILABLE`, until the returned function is called. Keeps its state. */
  outage(): () => void {
    this.#engine.outage = new DriverError("UNAVAILABLE", "memory: the broker is down; try again later");
    this.disconnect();
    return () => {
      this.#engine.outage = undefined;
    };
  }

  #write(to: Parameters<Engine["refusal"]>[0], record: RawRecord): void {
    const refusal = this.#engine.refusal(to);
    if (refusal !== undefined) throw refusal.error;
    this.#engine.store(to, toRawStored(record), undefined);
  }
}

function toRawStored(record: RawRecord): StoredRecord {
  return {
    id: record.id,
    key: copyKey(record.key ?? null),
    body: copyBytes(record.body),
    headers: copyHeaders(record.headers ?? emptyHeaders()),
    time: record.time,
    priority: 0,
    binaryHeaders: record.binaryHeaders,
  };
}

function copyRecord(record: StoredRecord): StoredRecord {
  const headers: Headers = copyHeaders(record.headers);
  return { ...record, key: copyKey(record.key), body: copyBytes(record.body), headers };
}
