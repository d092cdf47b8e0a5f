import type { Message } from "@aws-sdk/client-sqs";
import {
  type Delivery,
  type DriverError,
  type DriverEvent,
  type Receiver,
  type ReceiverOptions,
  type Settlement,
  type SettleResult,
  type Source,
} from "@sluice/core/driver";
import { settled, untilAborted } from "./call.ts";
import { holdMs } from "./delays.ts";
import type { FoundQueue } from "./directory.ts";
import { type Held, Holdings } from "./holdings.ts";
import { Incoming } from "./incoming.ts";
import { type Host, type Line, newLine } from "./polls.ts";
import { Returns, type ReturnsParts } from "./returns.ts";
import { deleteAll, hideAll } from "./settlements.ts";

export interface ReceiverParts extends ReturnsParts {
  readonly visibilitySeconds: number;
  readonly options: ReceiverOptions;
  report(event: DriverEvent): void;
}

interface Call {
  readonly max: number;
  readonly resolve: (deliveries: readonly Delivery[]) => void;
}

/** How long giving back may take once the caller's patience has ended. */
const lastWordMs = 1_000;
/** Longest timer of Node: keeps the process alive as an open socket would, while no poll does. */
const foreverMs = 2_147_483_647;
/** Failures of a queue in a row that are taken for a moment's. */
const patience = 3;
/** Failures that no waiting heals. */
const final: ReadonlySet<string> = new Set(["NOT_FOUND", "FORBIDDEN", "CONFIG", "UNSUPPORTED"]);

/** Reads any number of queues through the connection's polls, which run only while core asks for messages. */
export class SqsReceiver implements Receiver, Host {
  readonly lease: { readonly ms: number; readonly renew: true; readonly holdMs: number };
  readonly closed: Promise<DriverError | undefined>;
  readonly #parts: ReceiverParts;
  readonly #settled = settled<DriverError | undefined>();
  readonly #lines: Line[] = [];
  /** Lines that were not polled because nothing was wanted. */
  #parked: Line[] = [];
  readonly #holdings: Holdings;
  readonly #incoming: Incoming;
  /** Taken from the broker, not yet by core. */
  #buffer: Held[] = [];
  readonly #cut = new AbortController();
  readonly #retries = new Set<() => void>();
  readonly #returns: Returns;
  readonly #letProcessEnd: () => void;
  #call: Call | undefined;
  #asked = 0;
  #polling = 0;
  /** Waiters for the end of the last open poll. */
  readonly #quiet = new Set<() => void>();
  #stopping: Promise<void> | undefined;
  #closing: Promise<void> | undefined;

  constructor(parts: ReceiverParts) {
    this.#parts = { ...parts, forbidden: (error) => this.#fail(error) };
    const { runtime, visibilitySeconds, options } = parts;
    const ms = visibilitySeconds * 1_000;
    this.lease = { ms, renew: true, holdMs };
    this.closed = this.#settled.promise;
    this.#holdings = new Holdings({
      runtime,
      leaseMs: ms,
      lost: (deliveries, reason) => options.lost(deliveries, reason),
      giveBack: (held) => this.#returns.giveBack(held),
    });
    this.#returns = new Returns(this.#parts);
    this.#incoming = new Incoming(this.#parts);
    this.#letProcessEnd = runtime.timer(foreverMs, () => {});
  }

  /** Only while it is opened. */
  read(queue: FoundQueue, source: Source): void {
    const line = newLine(queue, source, this);
    this.#lines.push(line);
    this.#parked.push(line);
    this.#parts.polls.enroll(line);
  }

  get cut(): AbortSignal {
    return this.#cut.signal;
  }

  get short(): boolean {
    return this.#parked.length > 0;
  }

  receive(max: number, signal: AbortSignal): Promise<readonly Delivery[]> {
    const ready = this.#take(max);
    if (ready.length > 0 || signal.aborted || this.#stopping) return Promise.resolve(ready);
    return new Promise((resolve) => {
      const end = (deliveries: readonly Delivery[]) => {
        signal.removeEventListener("abort", abort);
        this.#call = undefined;
        resolve(deliveries);
      };
      // The polls go on: what they bring waits for the next call, or goes back.
      const abort = () => end([]);
      signal.addEventListener("abort", abort, { once: true });
      this.#call = { max, resolve: end };
      this.#want();
    });
  }

  /** Lets the polls have every line again that waited for room. */
  #want(): void {
    const lines = this.#parked;
    this.#parked = [];
    for (const line of lines) this.#parts.polls.offer(line);
  }

  ask(line: Line): number {
    const { window, windowBytes } = this.#parts.options;
    const room = window - this.#holdings.size - this.#asked;
    if (!this.#call || this.#stopping || room <= 0 || this.#holdings.bytes >= windowBytes) {
      this.#parked.push(line);
      return 0;
    }
    // A share for each that can be asked now: one that is empty must not keep the window from the others while it is asked.
    const free = this.#parts.polls.slots - this.#polling;
    const others = Math.min(this.#lines.length - this.#parked.length - this.#polling, free);
    const asked = Math.min(10, Math.max(1, Math.floor(room / Math.max(1, others))));
    this.#asked += asked;
    this.#polling++;
    return asked;
  }

  took(line: Line, asked: number, messages: readonly Message[]): void {
    this.#asked -= asked;
    const wanted = this.#incoming.sort(line, messages, this.#stopping !== undefined);
    const held = wanted.map(({ delivery, handle }) => this.#holdings.add(line, delivery, handle));
    if (this.#stopping) {
      for (const one of held) this.#holdings.remove(one);
      this.#returns.giveBackUnseen(held);
    } else this.#buffer.push(...held);
    this.#pollEnded();
    this.#deliver();
  }

  failed(line: Line, asked: number, error: DriverError): void {
    this.#asked -= asked;
    this.#pollEnded();
    if (this.#stopping) return;
    // Credentials that expired are renewed by the calls themselves; when that does not help for a while, it shall be seen.
    const refused = error.code === "UNAUTHORIZED" && (!error.retryable || line.failures > patience);
    if (refused || final.has(error.code)) return this.#fail(error);
    // Also when too much is in flight: it stays so until something is settled.
    if (error.code === "REFUSED") this.#parts.report({ kind: "throttled", source: line.source, detail: error.message });
    const cancel = this.#parts.polls.again(line, () => this.#retries.delete(cancel));
    this.#retries.add(cancel);
  }

  #pollEnded(): void {
    this.#polling--;
    if (this.#polling === 0) for (const end of this.#quiet) end();
  }

  #deliver(): void {
    const call = this.#call;
    if (!call || this.#buffer.length === 0) return;
    call.resolve(this.#take(call.max));
  }

  #take(max: number): readonly Delivery[] {
    const { runtime } = this.#parts;
    const nowMs = runtime.monotonicMs();
    const stale = this.#buffer.filter((held) => !this.#holdings.get(held.delivery));
    if (stale.length > 0) this.#buffer = this.#buffer.filter((held) => !stale.includes(held));
    // n.b. What waited here while core wanted nothing has little of its lease left: others shall have it, and all after it.
    const halfMs = this.lease.ms / 2;
    if (this.#buffer.some((held) => held.leaseUntilMs - nowMs < halfMs)) {
      const old = this.#buffer;
      this.#buffer = [];
      for (const held of old) this.#holdings.remove(held);
      this.#returns.giveBackUnseen(old);
    }
    const taken = this.#buffer.splice(0, max);
    for (const held of taken) held.seen = true;
    return taken.map(({ delivery }) => delivery);
  }

  async settle(settlements: readonly Settlement[]): Promise<readonly SettleResult[]> {
    const results = new Map<Delivery, SettleResult>();
    const accepted: Held[] = [];
    const released: Held[] = [];
    for (const { delivery, accept } of settlements) {
      const held = this.#holdings.get(delivery);
      if (!held) continue;
      this.#holdings.remove(held);
      (accept ? accepted : released).push(held);
    }
    const tails = released.flatMap((held) => (held.line.queue.fifo ? this.#holdings.takeTail(held) : []));
    const seen = tails.filter((held) => held.seen).map(({ delivery }) => delivery);
    if (seen.length > 0) this.#parts.options.lost(seen, "revoked");
    const [deleted, shown] = await Promise.all([
      deleteAll(this.#parts, accepted),
      this.#returns.show([...released, ...tails]),
    ]);
    for (const held of accepted) {
      // n.b. A standard queue says yes to handles of long ago: that is a promise kept only as far as our lease held.
      const sure = held.line.queue.fifo ? "durable" : "sent";
      results.set(held.delivery, deleted.get(held) === "done" ? sure : "lost");
    }
    for (const held of released) results.set(held.delivery, shown.get(held) === "done" ? "durable" : "lost");
    this.#room();
    return settlements.map(({ delivery }) => {
      const result = results.get(delivery) ?? "lost";
      results.delete(delivery);
      return result;
    });
  }

  async flush(): Promise<void> {}

  async extend(deliveries: readonly Delivery[], ms: number): Promise<readonly Delivery[]> {
    const fromMs = this.#parts.runtime.monotonicMs();
    const lost: Delivery[] = [];
    const held: Held[] = [];
    for (const delivery of deliveries) {
      const one = this.#holdings.get(delivery);
      if (one && !this.#holdings.tooLong(one, ms)) held.push(one);
      else lost.push(delivery, ...(one ? this.#lose(one) : []));
    }
    const results = await hideAll(this.#parts, held, Math.ceil(ms / 1_000));
    for (const one of held) {
      const result = results.get(one);
      // n.b. One that was settled meanwhile is refused too, and that is no loss.
      if (this.#holdings.get(one.delivery) !== one) continue;
      if (result === "done") this.#holdings.renew(one, fromMs, ms);
      else if (result === "refused") lost.push(one.delivery, ...this.#lose(one));
    }
    return lost;
  }

  /** Not ours any more, and in an ordered queue nothing after it. Resolves to those after it that core has. */
  #lose(held: Held): readonly Delivery[] {
    this.#holdings.remove(held);
    if (!held.line.queue.fifo) return [];
    const tail = this.#holdings.takeTail(held);
    this.#returns.giveBack(tail);
    return tail.filter(({ seen }) => seen).map(({ delivery }) => delivery);
  }

  stop(signal: AbortSignal): Promise<void> {
    this.#stopping ??= this.#stop(signal);
    return this.#stopping;
  }

  async #stop(signal: AbortSignal): Promise<void> {
    const buffered = this.#buffer;
    this.#buffer = [];
    for (const line of this.#lines) this.#parts.polls.leave(line);
    for (const held of buffered) this.#holdings.remove(held);
    for (const cancel of this.#retries) cancel();
    this.#call?.resolve([]);
    this.#returns.giveBackUnseen(buffered);
    await untilAborted(signal, this.#returns.idle());
  }

  close(signal: AbortSignal): Promise<void> {
    this.#closing ??= this.#close(signal);
    return this.#closing;
  }

  async #close(signal: AbortSignal): Promise<void> {
    await this.stop(signal);
    // n.b. A poll that is cut off goes on at the service, and hides what it gets for a whole lease: it is left to end by itself.
    await untilAborted(signal, this.#untilQuiet(foreverMs));
    this.#cut.abort();
    await this.#untilQuiet(lastWordMs);
    this.#returns.giveBack(this.#holdings.drain());
    const limit = new AbortController();
    const cancel = this.#parts.runtime.timer(lastWordMs, () => limit.abort());
    const all = Promise.all([this.#returns.idle(), this.#incoming.idle()]);
    await untilAborted(signal.aborted ? limit.signal : signal, all);
    cancel();
    this.#finish(undefined);
  }

  /** Resolves when no poll of ours is open, or after so long. */
  #untilQuiet(ms: number): Promise<void> {
    if (this.#polling === 0) return Promise.resolve();
    return new Promise((resolve) => {
      const end = () => {
        cancel();
        this.#quiet.delete(end);
        resolve();
      };
      const cancel = this.#parts.runtime.timer(ms, end);
      this.#quiet.add(end);
    });
  }

  #room(): void {
    if (this.#call) this.#want();
  }

  #fail(error: DriverError): void {
    this.#stopping ??= this.#stop(AbortSignal.abort());
    this.#finish(error);
  }

  #finish(error: DriverError | undefined): void {
    this.#letProcessEnd();
    this.#holdings.end();
    this.#settled.resolve(error);
  }
}
