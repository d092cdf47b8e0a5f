import { type Message, ReceiveMessageCommand, type SQSClient } from "@aws-sdk/client-sqs";
import { DriverError, type Runtime, type Source } from "@sluice/core/driver";
import { timed } from "./call.ts";
import type { FoundQueue } from "./directory.ts";
import { translate } from "./errors.ts";

export interface PollsParts {
  readonly client: SQSClient;
  readonly runtime: Runtime;
  /** Most polls at once, over all receivers of the connection. */
  readonly slots: number;
  readonly waitSeconds: number;
  /** To queues that had nothing lately, where they take turns. */
  readonly idleRequestsPerSecond: number;
  readonly visibilitySeconds: number;
}

/** Who reads a queue: a receiver. */
export interface Host {
  /** Ends its polls at once. n.b. The service goes on waiting, and hides what comes from everybody: only the last resort. */
  readonly cut: AbortSignal;
  /** How many messages of a queue are wanted now, out of what its window has left; 0 leaves the line to it until it wants again. */
  ask(line: Line): number;
  /** Whether lines wait until its window has room. */
  readonly short: boolean;
  /** What became of a poll that asked for `asked`. */
  took(line: Line, asked: number, messages: readonly Message[]): void;
  failed(line: Line, asked: number, error: DriverError): void;
}

/** One queue that a receiver reads, with what was learnt about it. */
export interface Line {
  readonly queue: FoundQueue;
  readonly source: Source;
  readonly host: Host;
  /** Polls under way, and how many there may be: more only while they come back full. */
  polling: number;
  width: number;
  /** The last poll brought something, or something is on its way. */
  busy: boolean;
  /** Something was sent to it while it was asked. */
  woken: boolean;
  /** Empty polls in a row. */
  idle: number;
  failures: number;
  queued: boolean;
  /** When the last poll that was started ends by itself. */
  endsMs: number;
  /** Of the last receive of a FIFO queue whose answer was lost: with it the service gives the same messages again. */
  attempt: string | undefined;
}

export function newLine(queue: FoundQueue, source: Source, host: Host): Line {
  return {
    queue,
    source,
    host,
    polling: 0,
    width: 1,
    busy: false,
    woken: false,
    idle: 0,
    failures: 0,
    queued: false,
    endsMs: 0,
    attempt: undefined,
  };
}

/** What one receive can bring. */
const receiveItems = 10;
/** Parallel polls of one busy queue. */
const widest = 4;
/** n.b. Below a second the service asks only some of its servers, and an empty answer means nothing. */
const rampSeconds = [1, 2, 5, 10, 20];
/** The wait while more queues are to be asked than there are slots: at first, and with busy ones among them. */
const crowdedSeconds = 4;
const busySeconds = 1;

/** Longest delay of what an abandoned poll must not get. */
const mostStaleMs = 2_000;

/**
 * Shares a bounded number of long polls over any number of queues: each holds a socket, and costs. As long as they suffice, every
 * queue has its own. Beyond that they take turns: queues that had something, or were just sent to from here, first; the others in
 * at least half of the slots, and never in the last few, so that whoever is woken is asked at once. A request costs the same
 * however long it waits, so idle ones wait as long as their number of requests a second asks for, and everyone's turn comes sooner
 * the fewer they are.
 */
export class Polls {
  readonly #parts: PollsParts;
  readonly #busy = new Set<Line>();
  readonly #idle = new Set<Line>();
  /** Who reads what is sent there, by topic and by url. */
  readonly #readers = new Map<string, Line[]>();
  /** Lines that are read, whether they may be asked now or not. */
  #count = 0;
  /** By url: open polls of receivers that have stopped. */
  readonly #stale = new Map<string, number>();
  #active = 0;
  #activeIdle = 0;
  #lastBusy = false;
  #pumping = false;

  constructor(parts: PollsParts) {
    this.#parts = parts;
  }

  /** Most polls at once. */
  get slots(): number {
    return this.#parts.slots;
  }

  /** This queue is read from now on, until it is left. */
  enroll(line: Line): void {
    this.#count++;
    for (const address of addressesOf(line)) {
      const readers = this.#readers.get(address);
      if (readers) readers.push(line);
      else this.#readers.set(address, [line]);
    }
  }

  /** This queue is to be asked, as soon as it is its turn. */
  offer(line: Line): void {
    if (line.queued || line.polling >= line.width) return;
    line.queued = true;
    (line.busy ? this.#busy : this.#idle).add(line);
    this.#pump();
  }

  /** Something was sent from here to a topic, or to the queue with this url: who reads it is asked next. */
  wake(address: string): void {
    for (const line of this.#readers.get(address) ?? []) {
      if (line.polling > 0) line.woken = true;
      else line.busy = true;
      if (!this.#idle.delete(line)) continue;
      this.#busy.add(line);
      this.#pump();
    }
  }

  #pump(): void {
    if (this.#pumping) return;
    this.#pumping = true;
    while (this.#active < this.#parts.slots) {
      const line = this.#next();
      if (!line) break;
      line.queued = false;
      const asked = line.host.ask(line);
      if (asked > 0) this.#start(line, asked);
    }
    this.#pumping = false;
  }

  #next(): Line | undefined {
    const idleShare = Math.floor(this.#parts.slots / 2);
    // With a single slot they alternate.
    const idleTurn = idleShare > 0 ? this.#activeIdle < idleShare : this.#lastBusy;
    const line =
      (idleTurn ? first(this.#idle) : undefined) ??
      first(this.#busy) ??
      (this.#activeIdle < this.#idleSlots ? first(this.#idle) : undefined);
    this.#lastBusy = line?.busy === true;
    return line;
  }

  /** The slots that queues may hold that had nothing lately. */
  get #idleSlots(): number {
    const { slots } = this.#parts;
    return this.#count > slots ? slots - Math.floor(slots / 8) : slots;
  }

  #start(line: Line, asked: number): void {
    const seconds = this.#waitOf(line);
    const idle = !line.busy;
    this.#active++;
    if (idle) this.#activeIdle++;
    line.polling++;
    line.endsMs = Math.max(line.endsMs, this.#parts.runtime.monotonicMs() + seconds * 1_000);
    void this.#poll(line, asked, seconds).finally(() => {
      this.#active--;
      if (idle) this.#activeIdle--;
      this.#pump();
    });
    this.offer(line);
  }

  #waitOf(line: Line): number {
    const { waitSeconds, idleRequestsPerSecond } = this.#parts;
    const ramp = rampSeconds[Math.min(line.idle, rampSeconds.length - 1)] ?? crowdedSeconds;
    if (this.#idle.size === 0 && !line.host.short) return Math.min(ramp, waitSeconds);
    // A first round is short too: nobody knows yet what waits where.
    const unknown = line.idle === 0 && !line.busy;
    if (unknown || this.#busy.size > 0) return busySeconds;
    // n.b. A window that is too small for them all makes the round longer than the slots tell.
    const paced = Math.floor(this.#idleSlots / idleRequestsPerSecond);
    return Math.min(Math.max(line.host.short ? crowdedSeconds : paced, 1), waitSeconds);
  }

  async #poll(line: Line, asked: number, seconds: number): Promise<void> {
    const doing = `cannot receive from queue "${line.queue.name}"`;
    const answer = await this.#receive(line, asked, seconds, doing).catch((error: unknown) => translate(error, doing));
    line.polling--;
    if (answer instanceof DriverError) {
      line.failures++;
      line.width = 1;
      return line.host.failed(line, asked, answer);
    }
    line.failures = 0;
    line.attempt = undefined;
    line.busy = answer.length > 0 || line.woken;
    line.woken = false;
    line.idle = line.busy ? 0 : line.idle + 1;
    if (answer.length === receiveItems) line.width = Math.min(line.width + 1, widest);
    else if (answer.length === 0) line.width = 1;
    line.host.took(line, asked, answer);
    this.offer(line);
  }

  async #receive(line: Line, asked: number, seconds: number, doing: string): Promise<readonly Message[]> {
    const { client, runtime, visibilitySeconds } = this.#parts;
    if (line.queue.fifo) line.attempt ??= runtime.id();
    const command = new ReceiveMessageCommand({
      QueueUrl: line.queue.url,
      MaxNumberOfMessages: Math.min(asked, receiveItems),
      WaitTimeSeconds: seconds,
      VisibilityTimeout: visibilitySeconds,
      MessageAttributeNames: ["All"],
      MessageSystemAttributeNames: ["All"],
      ...(line.attempt !== undefined && { ReceiveRequestAttemptId: line.attempt }),
    });
    const bound = { runtime, doing, signal: line.host.cut, ms: seconds * 1_000 + 8_000 };
    const { Messages = [] } = await timed(bound, (options) => client.send(command, options));
    return Messages;
  }

  /**
   * Nobody wants what its open polls bring any more. n.b. A poll cannot be called back: for as long as it is open at the service,
   * but no longer than a moment, whatever is sent or shown to its queue is delayed, so that it misses it.
   */
  leave(line: Line): void {
    this.#count--;
    this.#idle.delete(line);
    this.#busy.delete(line);
    for (const address of addressesOf(line)) {
      const others = (this.#readers.get(address) ?? []).filter((reader) => reader !== line);
      if (others.length > 0) this.#readers.set(address, others);
      else this.#readers.delete(address);
    }
    const { queue, polling, endsMs } = line;
    const nowMs = this.#parts.runtime.monotonicMs();
    if (polling > 0 && endsMs > nowMs) this.#stale.set(queue.url, Math.min(endsMs, nowMs + mostStaleMs));
  }

  /** Until when messages for a queue are better not seen, monotonic milliseconds; 0: now. */
  staleUntilMs({ url }: { readonly url: string }): number {
    const untilMs = this.#stale.get(url) ?? 0;
    if (untilMs > this.#parts.runtime.monotonicMs()) return untilMs;
    this.#stale.delete(url);
    return 0;
  }

  /** After a failure: again, but not at once. */
  again(line: Line, begun: () => void): () => void {
    const { runtime } = this.#parts;
    const mostMs = Math.min(200 * 2 ** Math.min(line.failures - 1, 4), 2_000);
    return runtime.timer(mostMs / 2 + (runtime.random() * mostMs) / 2, () => {
      begun();
      this.offer(line);
    });
  }
}

/** Where messages for a line are sent to. */
function addressesOf({ source, queue }: Line): readonly string[] {
  return source.topic === undefined ? [queue.url] : [source.topic, queue.url];
}

/** Takes the one that has waited longest. */
function first(lines: Set<Line>): Line | undefined {
  for (const line of lines) {
    lines.delete(line);
    return line;
  }
  return undefined;
}
