import {
  type Bus,
  connect,
  type Context,
  type Outcome,
  PermanentError,
  type Subscription,
  topic,
  type Topic,
  UnavailableError,
} from "@sluice/core";
import { memory, MemoryBroker, type Simulation, simulation } from "@sluice/memory";
import { Faulty, type Faults, noFaults } from "./faulty.ts";

/** What a handler does at one run of a message. */
export type Act =
  | "done"
  | "throw"
  | "throw undefined"
  | "permanent"
  | "unavailable"
  | "retry"
  | "retry later"
  | "defer"
  | "dead-letter"
  | "drop"
  | "unused"
  | "long"
  | "too long"
  | "listens";

export interface Payload {
  readonly key: string;
  readonly sequence: number;
  /** One act per run; after the last one `done`. */
  readonly acts: readonly Act[];
}

export type Step =
  | {
      readonly kind: "publish";
      readonly keyed: boolean;
      readonly key: string;
      readonly count: number;
      readonly acts: readonly Act[];
    }
  | { readonly kind: "wait"; readonly ms: number }
  | { readonly kind: "faults"; readonly faults: Faults }
  | { readonly kind: "kill" | "revoke" | "cut" | "pause" | "resume" | "join" | "leave" };

const plain: Topic<Payload, Payload> = topic<Payload>("plain", { groups: ["work", "audit"] });
const keyed: Topic<Payload, Payload> = topic<Payload>("keyed", {
  key: (payload: Payload) => payload.key,
  shards: 2,
  groups: ["work"],
});

const attempts = 4;
const retry = { attempts, firstDelay: 100, maxDelay: "5s" } as const;

interface Run {
  readonly context: Context;
  readonly process: number;
}

/** Two processes at most, three subscriptions each, on one broker; and everything that was seen. */
export class World {
  readonly clock: Simulation;
  readonly broker: MemoryBroker = new MemoryBroker();
  readonly faulty: Faulty;
  readonly wrong: string[] = [];
  /** group/id → runs so far. */
  readonly runs: Map<string, number> = new Map();
  /** group/id of those that a handler finished, or dropped on purpose. */
  readonly finished: Set<string> = new Set();
  readonly confirmed: { id: string; keyed: boolean }[] = [];
  /** Keys of which some lease was lost, or whose copy failed: their order is not promised. */
  readonly disturbed: Set<string> = new Set();
  readonly order: Map<string, number[]> = new Map();
  /** Handlers of ours that wait for a timer of their own. */
  sleeping = 0;
  readonly #live = new Map<string, Set<Run>>();
  readonly #open: { bus: Bus; subscriptions: Subscription[]; process: number }[] = [];
  readonly #background = new Set<Promise<unknown>>();
  readonly #atomic: boolean;
  #processes = 0;
  #sequence = 0;

  constructor(seed: number, atomic: boolean) {
    this.clock = simulation({ seed });
    const chance = simulation({ seed: seed + 1 });
    this.faulty = new Faulty(() => chance.runtime.random());
    this.#atomic = atomic;
  }

  async join(): Promise<void> {
    if (this.#open.length > 1) return;
    const process = ++this.#processes;
    const inner = memory({ broker: this.broker, leaseMs: 3000, limits: { sendsInFlight: 1 } });
    const driver = this.faulty.driver(inner, { atomic: this.#atomic });
    const options = {
      runtime: this.clock.runtime,
      clientName: `process-${process}`,
      publish: { deadline: "20s" },
    } as const;
    const bus = await connect(driver, options).catch(() => undefined);
    if (!bus) return;
    const member = { bus, subscriptions: [] as Subscription[], process };
    this.#open.push(member);
    const common = { retry, timeout: "2s", concurrency: 3, window: 8 } as const;
    const handler = (group: string) => (payload: Payload, context: Context) =>
      this.#handle(payload, context, group, process);
    const add = (opened: Promise<Subscription>) =>
      opened.then((subscription) => void member.subscriptions.push(subscription)).catch(() => undefined);
    await Promise.all([
      add(bus.subscribe(plain, { ...common, group: "work" }, handler("plain/work"))),
      add(bus.subscribe(plain, { ...common, group: "audit" }, handler("plain/audit"))),
      add(bus.subscribe(keyed, { ...common, group: "work" }, handler("keyed/work"))),
    ]);
  }

  async leave(index = 0, deadline: "2s" | "20s" = "2s"): Promise<void> {
    const [member] = this.#open.splice(index, 1);
    await member?.bus.drain({ deadline });
  }

  async step(step: Step): Promise<void> {
    const member = this.#open[0];
    switch (step.kind) {
      case "publish":
        for (let n = 0; n < step.count; n++) this.#publish(step.keyed, step.key, step.acts.slice(n));
        return;
      case "wait":
        return this.clock.advance(step.ms);
      case "faults":
        this.faulty.faults = step.faults;
        return;
      case "kill":
        return this.faulty.any()?.kill();
      case "revoke":
        return this.faulty.any()?.revoke();
      case "cut":
        if (member) this.broker.disconnect(`process-${member.process}`);
        return;
      case "pause":
        for (const subscription of member?.subscriptions ?? []) subscription.pause();
        return;
      case "resume":
        return this.#resume();
      case "join":
        return this.#behind(this.join());
      case "leave":
        return this.#behind(this.leave());
    }
  }

  /** No more faults; then everything must come to an end by itself. */
  async heal(): Promise<void> {
    this.faulty.faults = noFaults;
    this.#resume();
    await this.clock.run(Promise.all(this.#background));
    if (this.#open.length === 0 || this.#open.some(({ subscriptions }) => subscriptions.length < 3)) {
      while (this.#open.length > 0) await this.clock.run(this.leave());
      await this.clock.run(this.join());
    }
    this.#resume();
    await this.clock.until(() => this.#quiet, 2 * 3_600_000);
    // Handlers that ignore their signal may still sleep.
    await this.clock.advance(10_000);
    for (const { bus } of this.#open) {
      for (const health of bus.health().subscriptions) {
        if (health.held > 0 || health.running > 0) this.wrong.push(`${health.name} holds ${health.held}`);
      }
    }
  }

  /** All processes end in order, whatever is under way. Nothing of them may stay behind. */
  async close(): Promise<void> {
    await this.clock.run(Promise.all(this.#background));
    while (this.#open.length > 0) await this.clock.run(this.leave(0, "20s"));
    const left = this.clock.timers - this.sleeping;
    if (left > 0) this.wrong.push(`${left} timers after close`);
  }

  get #quiet(): boolean {
    return [
      ["plain", "work"],
      ["plain", "audit"],
      ["keyed", "work"],
    ].every(([name = "", group = ""]) => {
      const { ready, inFlight, delayed } = this.broker.depth(name, group);
      return ready + inFlight + delayed === 0;
    });
  }

  #resume(): void {
    for (const { subscriptions } of this.#open) for (const subscription of subscriptions) subscription.resume();
  }

  #behind(work: Promise<unknown>): void {
    this.#background.add(work);
    void work.finally(() => this.#background.delete(work));
  }

  #publish(ordered: boolean, key: string, acts: readonly Act[]): void {
    const bus = this.#open[0]?.bus;
    if (!bus) return;
    const sequence = this.#sequence++;
    const id = `m${sequence}`;
    const sent = bus.publish(ordered ? keyed : plain, { key, sequence, acts }, { id });
    this.#behind(
      sent.then(
        () => void this.confirmed.push({ id, keyed: ordered }),
        () => void this.disturbed.add(key),
      ),
    );
  }

  #handle(
    payload: Payload,
    context: Context,
    group: string,
    process: number,
  ): void | Outcome | Promise<void | Outcome> {
    const { id, attempt } = context.message;
    const name = `${group}/${id}`;
    const nth = this.runs.get(name) ?? 0;
    this.runs.set(name, nth + 1);
    if (attempt > attempts) this.wrong.push(`${name} has attempt ${attempt}`);
    const run = { context, process };
    if (group === "keyed/work") this.#begin(payload, run);
    const act = payload.acts[nth] ?? "done";
    const end = () => this.#live.get(payload.key)?.delete(run);
    if (act === "long" || act === "too long" || act === "listens") {
      return this.#long(act, context).then(() => {
        end();
        context.signal.throwIfAborted();
        this.finished.add(name);
      });
    }
    end();
    return this.#act(act, context, name);
  }

  #begin(payload: Payload, run: Run): void {
    const { key, sequence } = payload;
    const live = this.#live.get(key) ?? new Set();
    this.#live.set(key, live);
    for (const other of live) {
      if (other.process === run.process) this.wrong.push(`key ${key} runs twice in process ${run.process}`);
      else if (!other.context.signal.aborted) this.wrong.push(`key ${key} runs in two processes`);
    }
    live.add(run);
    const order = this.order.get(key) ?? [];
    this.order.set(key, order);
    if (order.at(-1) !== sequence) order.push(sequence);
  }

  async #long(act: Act, context: Context): Promise<void> {
    const { runtime } = this.clock;
    const ms = act === "long" ? 1500 : act === "too long" ? 9000 : 60_000;
    this.sleeping++;
    await new Promise<void>((done) => {
      const resolve = () => {
        this.sleeping--;
        done();
      };
      const cancel = runtime.timer(ms, resolve);
      if (act !== "listens") return;
      const stop = () => {
        cancel();
        resolve();
      };
      if (context.signal.aborted) stop();
      else context.signal.addEventListener("abort", stop, { once: true });
    });
  }

  #act(act: Act, context: Context, name: string): void | Outcome {
    switch (act) {
      case "throw":
        throw new Error("an error");
      case "throw undefined":
        throw undefined;
      case "permanent":
        throw new PermanentError("never");
      case "unavailable":
        throw new UnavailableError("down");
      case "retry":
        return context.retry();
      case "retry later":
        return context.retry({ delay: "4s" });
      case "defer":
        return context.defer("3s", "not yet");
      case "dead-letter":
        return context.deadLetter("no");
      case "drop":
        this.finished.add(name);
        return context.drop("why not");
      case "unused":
        context.drop("forgotten");
        return undefined;
      default:
        this.finished.add(name);
        return undefined;
    }
  }
}
