import { closeSync, fsyncSync, mkdirSync, openSync, readSync, writeSync } from "node:fs";
import { join } from "node:path";
import { after, every, monotonicMs, TimeLimitError } from "./clock.ts";

export type EventName =
  | "publish-intent"
  | "publish-ok"
  | "publish-failed"
  | "publish-unknown"
  | "handler-start"
  | "handler-end"
  | "effect"
  | "settle-lost"
  | "dlq-seen"
  | "dropped"
  | "ready"
  | "closed"
  | "fault"
  | "note"
  | "problem";

/** One line of a ledger. `at` is the clock shared by all processes of the machine. */
export interface LedgerEvent {
  readonly event: EventName;
  readonly process: string;
  readonly sequence: number;
  readonly at: number;
  readonly wall: number;
  readonly topic?: string;
  readonly group?: string;
  readonly id?: string;
  readonly key?: string;
  readonly n?: number;
  readonly attempt?: number;
  readonly deliveries?: number | undefined;
  readonly corrupted?: boolean;
  readonly detail?: string;
}

export type EventFields = Omit<LedgerEvent, "event" | "process" | "sequence" | "at" | "wall">;

/** Lines that a ledger may keep back where nobody kills its process. */
const unwrittenLines = 500;

/** One process's own append-only file of JSON lines. */
export class Ledger {
  readonly process: string;
  readonly #file: number;
  readonly #durable: boolean;
  readonly #listener: ((event: LedgerEvent) => void) | undefined;
  readonly #unwritten: string[] = [];
  #sequence = 0;
  #closed = false;

  /**
   * @param durable for processes that get killed: every line is written before anything else happens, and an `effect` is on the
   * disk before the message can be settled
   */
  constructor(path: string, process: string, durable: boolean, listener?: (event: LedgerEvent) => void) {
    this.process = process;
    this.#file = openSync(path, "a");
    this.#durable = durable;
    this.#listener = listener;
  }

  write(event: EventName, fields: EventFields = {}): void {
    if (this.#closed) return;
    const line: LedgerEvent = {
      event,
      process: this.process,
      sequence: this.#sequence++,
      at: monotonicMs(),
      wall: Date.now(),
      ...fields,
    };
    this.#unwritten.push(JSON.stringify(line));
    if (this.#durable || this.#unwritten.length >= unwrittenLines) this.#flush();
    if (this.#durable && event === "effect") fsyncSync(this.#file);
    this.#listener?.(line);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#flush();
    closeSync(this.#file);
  }

  #flush(): void {
    if (this.#unwritten.length > 0) writeSync(this.#file, `${this.#unwritten.splice(0).join("\n")}\n`);
  }
}

interface Tally {
  total: number;
  readonly ids: Map<string, number>;
}

interface Follower {
  readonly path: string;
  file: number | undefined;
  position: number;
  rest: string;
}

/** Limits of one wait, in milliseconds. */
export interface WaitLimits {
  /** Nothing new happened for so long. */
  readonly idleMs: number;
  /** So long in all. */
  readonly totalMs: number;
}

/** All ledgers of one case: this process's directly, those of children by reading along. Counts, and wakes who waits. */
export class Journal {
  readonly directory: string;
  readonly events: LedgerEvent[] = [];
  readonly #tallies = new Map<string, Tally>();
  readonly #ledgers: Ledger[] = [];
  readonly #followers: Follower[] = [];
  readonly #wakers = new Set<() => void>();
  #stopFollowing: (() => void) | undefined;

  constructor(directory: string) {
    this.directory = directory;
    mkdirSync(directory, { recursive: true });
  }

  /** A ledger of this process. */
  ledger(name = "main"): Ledger {
    const ledger = new Ledger(this.path(name), name, false, (event) => this.#add(event));
    this.#ledgers.push(ledger);
    return ledger;
  }

  /** The file of a process. */
  path(name: string): string {
    return join(this.directory, `${name}.jsonl`);
  }

  /** Reads a child's ledger while it grows. */
  follow(name: string): void {
    this.#followers.push({ path: this.path(name), file: undefined, position: 0, rest: "" });
    this.#stopFollowing ??= every(20, () => this.catchUp());
  }

  /** Reads everything that children wrote so far. */
  catchUp(): void {
    for (const follower of this.#followers) this.#read(follower);
  }

  /** How many events of this name, repeated ones included. */
  total(event: EventName, topic: string, group = ""): number {
    return this.#tallies.get(`${event} ${topic} ${group}`)?.total ?? 0;
  }

  /** How often each id was seen. */
  ids(event: EventName, topic: string, group = ""): ReadonlyMap<string, number> {
    return this.#tallies.get(`${event} ${topic} ${group}`)?.ids ?? new Map<string, number>();
  }

  /** Resolves once `done` answers true; asked after every event. Rejects with the last events when a limit passes. */
  until(what: string, limits: WaitLimits, done: () => boolean, explain?: () => string): Promise<void> {
    if (done()) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const settle = (error?: Error) => {
        cancelIdle();
        cancelTotal();
        this.#wakers.delete(wake);
        if (error) reject(error);
        else resolve();
      };
      const expire = (why: string) =>
        settle(new TimeLimitError(`${what}: ${why}${explain ? `\n${explain()}` : ""}\n${this.tail()}`));
      const idle = () => after(limits.idleMs, () => expire(`nothing happened for ${limits.idleMs} ms`));
      const wake = () => {
        if (done()) return settle();
        cancelIdle();
        cancelIdle = idle();
      };
      let cancelIdle = idle();
      const cancelTotal = after(limits.totalMs, () => expire(`not within ${limits.totalMs} ms`));
      this.#wakers.add(wake);
    });
  }

  /** The last events as text, for failures. */
  tail(count = 20): string {
    const lines = this.events.slice(-count).map((event) => {
      const { process, at, wall: _, sequence: __, event: name, ...fields } = event;
      return `  ${at.toFixed(0)} ${process} ${name} ${JSON.stringify(fields)}`;
    });
    return lines.length > 0 ? `last ${lines.length} events:\n${lines.join("\n")}` : "no event at all";
  }

  close(): void {
    this.#stopFollowing?.();
    this.catchUp();
    for (const ledger of this.#ledgers) ledger.close();
    for (const follower of this.#followers) if (follower.file !== undefined) closeSync(follower.file);
    this.#followers.length = 0;
  }

  #add(event: LedgerEvent): void {
    this.events.push(event);
    const name = `${event.event} ${event.topic ?? ""} ${event.group ?? ""}`;
    let tally = this.#tallies.get(name);
    if (!tally) this.#tallies.set(name, (tally = { total: 0, ids: new Map() }));
    tally.total++;
    if (event.id !== undefined) tally.ids.set(event.id, (tally.ids.get(event.id) ?? 0) + 1);
    for (const wake of this.#wakers) wake();
  }

  #read(follower: Follower): void {
    try {
      follower.file ??= openSync(follower.path, "r");
    } catch {
      return; // The child has not written yet.
    }
    const buffer = Buffer.alloc(65_536);
    for (;;) {
      const length = readSync(follower.file, buffer, 0, buffer.length, follower.position);
      if (length === 0) return;
      follower.position += length;
      const lines = (follower.rest + buffer.toString("utf8", 0, length)).split("\n");
      follower.rest = lines.pop() ?? "";
      for (const line of lines) this.#add(JSON.parse(line) as LedgerEvent);
    }
  }
}
