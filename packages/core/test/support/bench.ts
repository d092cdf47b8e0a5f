import { type Bus, connect, type ConnectOptions, events, type SettledEvent } from "@sluice/core";
import { memory, MemoryBroker, simulation, type Simulation } from "@sluice/memory";

export interface Bench {
  readonly clock: Simulation;
  readonly broker: MemoryBroker;
  readonly bus: Bus<ReturnType<typeof memory>["capabilities"]>;
  /** Another process, as far as the broker can tell. */
  readonly another: () => Promise<Bench["bus"]>;
  /** Every last word about a message so far, oldest first. */
  readonly fates: SettledEvent[];
}

/** A bus on the memory broker under a simulated clock. */
export async function bench(options: ConnectOptions & { readonly leaseMs?: number } = {}): Promise<Bench> {
  const { leaseMs = 30_000, ...rest } = options;
  const clock = simulation();
  const broker = new MemoryBroker();
  const open = () => connect(memory({ broker, leaseMs }), { runtime: clock.runtime, ...rest });
  const fates: SettledEvent[] = [];
  const { diagnostics } = { diagnostics: await import("node:diagnostics_channel") };
  diagnostics.subscribe(events.settled.name, (event) => void fates.push(event as SettledEvent));
  return { clock, broker, bus: await clock.run(open()), another: () => clock.run(open()), fates };
}

/** A promise with its handles: a handler that ends when the test says so. */
export function gate<T = void>(): { readonly opened: Promise<T>; open(value: T): void; fail(error: unknown): void } {
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  return { opened: promise, open: resolve, fail: reject };
}
