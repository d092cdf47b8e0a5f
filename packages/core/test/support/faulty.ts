import type {
  CommitResult,
  Connection,
  Delivery,
  Driver,
  LostReason,
  Receiver,
  ReceiverOptions,
  Runtime,
  Sender,
  SendItem,
  SendResult,
  Settlement,
  SettleResult,
  Source,
  Unit,
} from "../../src/driver/index.ts";
import { DriverError } from "../../src/driver/index.ts";

/** How likely each fault is, from 0 to 1. */
export interface Faults {
  connect: number;
  provision: number;
  open: number;
  send: number;
  settle: number;
  extend: number;
  commit: number;
  /** A received batch, `stop` and `close` take up to a second. */
  slow: number;
}

export const noFaults: Faults = {
  connect: 0,
  provision: 0,
  open: 0,
  send: 0,
  settle: 0,
  extend: 0,
  commit: 0,
  slow: 0,
};

/** Breaks whatever is opened through its driver, as its own random numbers decide, and watches that core keeps the contract. */
export class Faulty {
  readonly receivers: Set<FaultyReceiver> = new Set();
  faults: Faults = noFaults;
  /** What core did that the contract forbids. */
  readonly wrong: string[] = [];
  readonly random: () => number;

  constructor(random: () => number) {
    this.random = random;
  }

  hit(fault: keyof Faults): boolean {
    return this.random() < this.faults[fault];
  }

  /** Up to a second, or nothing. */
  async slow(runtime: Runtime): Promise<void> {
    if (!this.hit("slow")) return;
    const ms = this.random() * 1000;
    await new Promise<void>((resolve) => void runtime.timer(ms, resolve));
  }

  kill(): void {
    for (const receiver of this.receivers) receiver.kill();
  }

  revokeAll(): void {
    for (const receiver of this.receivers) receiver.revokeAll();
  }

  /** One live receiver of all that there are. */
  any(): FaultyReceiver | undefined {
    return [...this.receivers][Math.floor(this.random() * this.receivers.size)];
  }

  driver<D extends Driver>(inner: D, options: { readonly atomic: boolean }): D {
    return {
      ...inner,
      capabilities: { ...inner.capabilities, ...(options.atomic ? {} : { commit: "absent" }) },
      connect: async (context: Parameters<Driver["connect"]>[0]) => {
        if (this.hit("connect")) throw gone("connect");
        const connection = await inner.connect(context);
        return this.#connection(connection, context.runtime, options.atomic);
      },
    };
  }

  #connection(inner: Connection, runtime: Runtime, atomic: boolean): Connection {
    return {
      capabilities: atomic ? inner.capabilities : { ...inner.capabilities, commit: "absent" },
      limits: inner.limits,
      server: inner.server,
      native: inner.native,
      closed: inner.closed,
      provision: async (resources, mode, signal) => {
        if (this.hit("provision")) throw gone("provision");
        return inner.provision(resources, mode, signal);
      },
      sender: async () => {
        if (this.hit("open")) throw gone("sender");
        return this.#sender(await inner.sender());
      },
      receiver: async (sources: readonly Source[], options: ReceiverOptions) => {
        await this.slow(runtime);
        if (this.hit("open")) throw gone("receiver");
        const receiver: FaultyReceiver = new FaultyReceiver(this, runtime, options);
        await receiver.open((watched) => inner.receiver(sources, watched), atomic);
        return receiver;
      },
      backlog: (source, signal) => inner.backlog(source, signal),
      browse: (source, after, max, signal) => {
        if (!inner.browse) throw new TypeError("the memory driver browses");
        return inner.browse(source, after, max, signal);
      },
      ping: (signal) => inner.ping(signal),
      close: async (signal) => {
        await this.slow(runtime);
        return inner.close(signal);
      },
    };
  }

  #sender(inner: Sender): Sender {
    return {
      closed: inner.closed,
      close: (signal) => inner.close(signal),
      send: async (items: readonly SendItem[], signal: AbortSignal): Promise<readonly SendResult[]> => {
        if (!this.hit("send")) return inner.send(items, signal);
        const outcome = this.random() < 0.5 ? "not-stored" : "unknown";
        if (outcome === "unknown" && this.random() < 0.5) await inner.send(items, signal);
        return items.map(() => ({ outcome, error: gone("send") }));
      },
    };
  }
}

export class FaultyReceiver implements Receiver {
  readonly closed: Promise<DriverError | undefined>;
  readonly options: ReceiverOptions;
  readonly #faulty: Faulty;
  readonly #runtime: Runtime;
  readonly #held = new Set<Delivery>();
  readonly #lost = new WeakSet<Delivery>();
  /** Lost, and core was told at once. */
  readonly #told = new WeakSet<Delivery>();
  readonly #settled = new WeakSet<Delivery>();
  readonly #resolveClosed: (error: DriverError | undefined) => void;
  #inner: Receiver | undefined;
  #settling = false;
  #stopped = false;
  #dead = false;
  commit?: NonNullable<Receiver["commit"]>;

  constructor(faulty: Faulty, runtime: Runtime, options: ReceiverOptions) {
    this.#faulty = faulty;
    this.#runtime = runtime;
    this.options = options;
    const { promise, resolve } = Promise.withResolvers<DriverError | undefined>();
    this.closed = promise;
    this.#resolveClosed = resolve;
  }

  async open(make: (options: ReceiverOptions) => Promise<Receiver>, atomic: boolean): Promise<void> {
    const lost = (deliveries: readonly Delivery[], reason: LostReason) => this.#lose(deliveries, reason);
    this.#inner = await make({ ...this.options, lost });
    if (atomic) this.commit = (units) => this.#commit(units);
    void this.#inner.closed.then((error) => this.#finish(error));
    this.#faulty.receivers.add(this);
  }

  get #live(): Receiver {
    if (!this.#inner) throw new TypeError("not open");
    return this.#inner;
  }

  get lease(): Receiver["lease"] {
    return this.#live.lease;
  }

  async receive(max: number, signal: AbortSignal): Promise<readonly Delivery[] | undefined> {
    if (this.#stopped) this.#faulty.wrong.push("receive after stop");
    const deliveries = await this.#live.receive(max, signal);
    for (const delivery of deliveries ?? []) this.#held.add(delivery);
    if (this.#held.size > this.options.window) this.#faulty.wrong.push(`${this.#held.size} held`);
    await this.#faulty.slow(this.#runtime);
    return deliveries;
  }

  async settle(settlements: readonly Settlement[]): Promise<readonly SettleResult[]> {
    if (this.#settling) this.#faulty.wrong.push("settle calls overlap");
    for (const { delivery } of settlements) {
      if (this.#told.has(delivery)) this.#faulty.wrong.push("settled what was lost");
      if (this.#settled.has(delivery)) this.#faulty.wrong.push("settled twice");
      this.#settled.add(delivery);
    }
    this.#settling = true;
    await this.#faulty.slow(this.#runtime);
    const forget = this.#faulty.hit("settle");
    const ours = settlements.filter(({ delivery }) => !this.#lost.has(delivery));
    const done = await this.#live.settle(forget ? ours.map(({ delivery }) => back(delivery)) : ours);
    this.#settling = false;
    for (const { delivery } of settlements) this.#held.delete(delivery);
    return settlements.map((settlement) => (forget ? "lost" : (done[ours.indexOf(settlement)] ?? "lost")));
  }

  async #commit(units: readonly Unit[]): Promise<readonly CommitResult[]> {
    if (this.#faulty.hit("commit") && this.#faulty.random() < 0.5) return units.map(() => "unknown");
    const results = (await this.#live.commit?.(units)) ?? [];
    for (const [index, { accept }] of units.entries()) {
      if (results[index] !== "unknown") for (const delivery of accept) this.#held.delete(delivery);
    }
    return this.#faulty.hit("commit") ? units.map(() => "unknown") : results;
  }

  async extend(deliveries: readonly Delivery[], ms: number): Promise<readonly Delivery[]> {
    const dice = this.#faulty.hit("extend") ? this.#faulty.random() : 1;
    if (dice < 0.3) throw gone("extend");
    // The call never reached the broker: the leases go on running out.
    if (dice < 0.6) return [];
    const lost = (await this.#live.extend?.(deliveries, ms)) ?? [];
    if (dice === 1) return lost;
    const more = this.#pick();
    for (const delivery of more) this.#lost.add(delivery);
    this.#giveBack(more);
    return [...lost, ...more];
  }

  flush(signal: AbortSignal): Promise<void> {
    return this.#live.flush(signal);
  }

  hold(shards: readonly string[], on: boolean): void {
    this.#inner?.hold?.(shards, on);
  }

  async stop(signal: AbortSignal): Promise<void> {
    this.#stopped = true;
    await this.#faulty.slow(this.#runtime);
    return this.#live.stop(signal);
  }

  async close(signal: AbortSignal): Promise<void> {
    await this.#faulty.slow(this.#runtime);
    await this.#live.close(signal);
    this.#finish(undefined);
  }

  /** Some of what is held goes to another holder. */
  revoke(): void {
    const some = this.#pick();
    this.#lose(some, "revoked");
    this.#giveBack(some);
  }

  /** All that is held goes to another holder. */
  revokeAll(): void {
    this.revokeOnly(() => true);
  }

  revokeOnly(which: (delivery: Delivery) => boolean): void {
    const all = [...this.#held].filter(which);
    this.#lose(all, "revoked");
    this.#giveBack(all);
  }

  /** It dies with all that it holds. */
  kill(): void {
    if (this.#dead) return;
    this.#lose([...this.#held], "disconnected");
    this.#finish(gone("receiver"));
    void this.#inner?.close(AbortSignal.abort());
  }

  /** Any of them; of an ordered shard all or none. */
  #pick(): Delivery[] {
    const held = [...this.#held].filter((delivery) => !this.#lost.has(delivery));
    const shards = new Set(held.map(({ shard }) => shard).filter(() => this.#faulty.random() < 0.5));
    return held.filter(({ shard }) => (this.options.ordered ? shards.has(shard) : this.#faulty.random() < 0.5));
  }

  #giveBack(deliveries: readonly Delivery[]): void {
    for (const delivery of deliveries) this.#held.delete(delivery);
    void this.#inner?.settle(deliveries.map(back));
  }

  #lose(deliveries: readonly Delivery[], reason: LostReason): void {
    const lost = deliveries.filter((delivery) => !this.#lost.has(delivery));
    for (const delivery of lost) {
      this.#lost.add(delivery);
      this.#told.add(delivery);
      this.#held.delete(delivery);
    }
    if (lost.length > 0 && !this.#dead) this.options.lost(lost, reason);
  }

  #finish(error: DriverError | undefined): void {
    this.#dead = true;
    this.#faulty.receivers.delete(this);
    this.#resolveClosed(error);
  }
}

function back(delivery: Delivery): Settlement {
  return { delivery, accept: false, release: "failed" };
}

function gone(what: string): DriverError {
  return new DriverError("UNAVAILABLE", `faulty: ${what} failed`);
}
