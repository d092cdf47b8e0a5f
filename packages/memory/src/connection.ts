import { DriverError } from "@sluice/core/driver";
import type {
  Backlog,
  ConnectContext,
  Connection,
  Delivery,
  DriverEvent,
  Finding,
  Limits,
  ProvisionMode,
  ReceiverOptions,
  Resource,
  Runtime,
  SendItem,
  Source,
} from "@sluice/core/driver";
import type { MemoryBroker } from "./broker.ts";
import { engineOf } from "./broker.ts";
import { capabilities } from "./capabilities.ts";
import type { MemoryCapabilities } from "./capabilities.ts";
import { Snapshot } from "./dead-letters.ts";
import { longestTimerMs } from "./engine.ts";
import type { Attached, Engine } from "./engine.ts";
import { refuseByLimits } from "./limits.ts";
import type { Feed } from "./mailbox.ts";
import type { ResolvedOptions } from "./options.ts";
import { MemoryReceiver } from "./receiver.ts";
import { toDelivery, toStored } from "./record.ts";
import { MemorySender } from "./sender.ts";
import { provision } from "./topology.ts";

/** One connection to a broker object. Every answer takes one turn of the event loop, as if it came from elsewhere. */
export class MemoryConnection implements Connection, Attached {
  readonly capabilities: MemoryCapabilities = capabilities;
  readonly limits: Limits;
  readonly server = "Sluice memory";
  readonly native: MemoryBroker;
  readonly closed: Promise<DriverError | undefined>;
  readonly runtime: Runtime;
  readonly clientName: string;
  readonly #engine: Engine;
  readonly #leaseMs: number;
  readonly #senders = new Set<MemorySender>();
  readonly #receivers = new Set<MemoryReceiver>();
  readonly #resolveClosed: (reason: DriverError | undefined) => void;
  readonly #report: (event: DriverEvent) => void;
  #letProcessEnd: () => void;
  #finished: DriverError | undefined;

  constructor(broker: MemoryBroker, options: ResolvedOptions, context: ConnectContext) {
    this.native = broker;
    this.limits = options.limits;
    this.runtime = context.runtime;
    this.clientName = context.clientName;
    this.#engine = engineOf(broker);
    this.#leaseMs = options.leaseMs;
    this.#report = (event) => context.report(event);
    const { promise, resolve } = Promise.withResolvers<DriverError | undefined>();
    this.closed = promise;
    this.#resolveClosed = resolve;
    this.#engine.attach(this);
    this.#letProcessEnd = this.#keepProcessAlive();
  }

  provision(resources: readonly Resource[], mode: ProvisionMode, signal: AbortSignal): Promise<readonly Finding[]> {
    return this.#answer(() => provision(this.#engine, resources, mode, this.limits.nameBytes), signal);
  }

  sender(): Promise<MemorySender> {
    return this.#answer(() => {
      const sender = new MemorySender(this.#engine, this.runtime, this.limits);
      this.#senders.add(sender);
      void sender.closed.then(() => this.#senders.delete(sender));
      return sender;
    });
  }

  receiver(sources: readonly Source[], options: ReceiverOptions): Promise<MemoryReceiver> {
    return this.#answer(() => this.#open(sources, options));
  }

  backlog(source: Source, signal: AbortSignal): Promise<Backlog> {
    return this.#answer(() => this.#backlog(source), signal);
  }

  browse(
    source: Source,
    after: string | undefined,
    max: number,
    signal: AbortSignal,
  ): Promise<{ readonly deliveries: readonly Delivery[]; readonly next: string | undefined }> {
    return this.#answer(() => this.#browse(source, Number(after ?? 0), max), signal);
  }

  ping(signal: AbortSignal): Promise<void> {
    return this.#answer(() => undefined, signal);
  }

  close(signal: AbortSignal): Promise<void> {
    for (const receiver of this.#receivers) void receiver.close(signal);
    for (const sender of this.#senders) void sender.close(signal);
    this.#finish(new DriverError("LOST", "memory: the connection is closed; connect again"), undefined);
    return new Promise((resolve) => this.runtime.defer(resolve));
  }

  /** The broker cut it. */
  disconnect(error: DriverError): void {
    for (const receiver of this.#receivers) receiver.fail(error);
    for (const sender of this.#senders) sender.fail(error);
    this.#finish(error, error);
  }

  #finish(error: DriverError, reason: DriverError | undefined): void {
    if (this.#finished !== undefined) return;
    this.#finished = error;
    this.#engine.detach(this);
    this.#letProcessEnd();
    this.#resolveClosed(reason);
  }

  /** As the socket of a real broker does: else a process that only waits for messages would end. */
  #keepProcessAlive(): () => void {
    return this.runtime.timer(longestTimerMs, () => {
      this.#letProcessEnd = this.#keepProcessAlive();
    });
  }

  #open(sources: readonly Source[], options: ReceiverOptions): MemoryReceiver {
    const opened = sources.map((source) => ({ source, join: this.#place(source, options.ordered) }));
    const receiver = new MemoryReceiver({
      runtime: this.runtime,
      options,
      leaseMs: this.#leaseMs,
      receiveBatch: this.limits.receiveBatch,
      sendAll: (items) => this.#sendAll(items),
      left: () => this.#receivers.delete(receiver),
    });
    for (const { source, join } of opened) receiver.read({ source, feed: join(receiver) });
    this.#receivers.add(receiver);
    return receiver;
  }

  /** Checks that the source can be read, and answers how to join it; so that nothing is joined when one of them cannot. */
  #place(source: Source, ordered: boolean): (receiver: MemoryReceiver) => Feed {
    const engine = this.#engine;
    if ("delayed" in source) {
      throw new DriverError("UNSUPPORTED", "memory: has no waiting places; delays need no reader");
    }
    if ("broadcast" in source) {
      const topic = engine.topic(source.topic);
      return (receiver) => {
        const { feed, missed } = engine.joinBroadcast(topic, source, receiver);
        const detail = "sent while the connection was cut";
        if (missed > 0) this.#report({ kind: "gap", source, count: missed, detail });
        return feed;
      };
    }
    if (source.deadLetter) {
      const deadLetters = engine.deadLetters(source.topic, source.group);
      return () => new Snapshot(deadLetters);
    }
    const { mailbox } = engine.group(source.topic, source.group);
    mailbox.checkMode(ordered, `group "${source.group}" of topic "${source.topic}"`);
    return (receiver) => {
      mailbox.setFilter(source.filter);
      return mailbox.join(receiver);
    };
  }

  #sendAll(items: readonly SendItem[]): boolean {
    const now = this.runtime.wallMs();
    const refused = items.some(
      (item) => (this.#engine.refusal(item.to) ?? refuseByLimits(item, this.limits, now)) !== undefined,
    );
    if (refused) return false;
    for (const { to, record, notBefore, from } of items) this.#engine.store(to, toStored(record, from), notBefore);
    return true;
  }

  #backlog(source: Source): Backlog {
    const place = this.#engine.waitingPlace(source);
    const oldest = place.oldestMs();
    return {
      ready: place.ready,
      inFlight: place.inFlight,
      delayed: this.#engine.delayedFor(source),
      oldestMs: oldest === undefined ? 0 : Math.max(0, this.runtime.wallMs() - oldest),
    };
  }

  #browse(source: Source, after: number, max: number): { deliveries: Delivery[]; next: string | undefined } {
    if (!("deadLetter" in source) || !source.deadLetter) {
      throw new DriverError("UNSUPPORTED", "memory: only dead letters can be browsed; read a group with a receiver");
    }
    const deadLetters = this.#engine.deadLetters(source.topic, source.group);
    const deliveries: Delivery[] = [];
    let position = after;
    while (deliveries.length < max) {
      const entry = deadLetters.next(position, Infinity);
      if (entry === undefined) break;
      position = entry.sequence;
      deliveries.push(toDelivery(entry, source, "", undefined));
    }
    const more = deadLetters.next(position, Infinity) !== undefined;
    return { deliveries, next: more ? String(position) : undefined };
  }

  /** Does it in the next turn; refuses when the connection is gone or the signal has aborted. */
  #answer<T>(work: () => T, signal?: AbortSignal): Promise<T> {
    return new Promise((resolve, reject) => {
      this.runtime.defer(() => {
        try {
          if (this.#finished !== undefined) throw this.#finished;
          if (signal?.aborted) {
            throw new DriverError("ABORTED", "memory: the call was aborted; call it again", { cause: signal.reason });
          }
          resolve(work());
        } catch (error) {
          reject(error);
        }
      });
    });
  }
}
