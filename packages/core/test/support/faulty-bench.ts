import { connect, type ConnectOptions, events, type SettledEvent } from "@sluice/core";
import type { Driver } from "@sluice/core/driver";
import { memory, MemoryBroker, simulation, type Simulation } from "@sluice/memory";
import { subscribe } from "node:diagnostics_channel";
import { Faulty } from "./faulty.ts";

type MemoryBus = Awaited<ReturnType<typeof connect<ReturnType<typeof memory>["capabilities"], unknown, unknown>>>;

export interface FaultyBench {
  readonly clock: Simulation;
  readonly broker: MemoryBroker;
  readonly faulty: Faulty;
  readonly bus: MemoryBus;
  /** Another process, as far as the broker can tell; it shares the faults. */
  another(): Promise<MemoryBus>;
  /** Every last word about a message so far, oldest first. */
  readonly fates: SettledEvent[];
}

export interface FaultyOptions extends ConnectOptions {
  readonly leaseMs?: number;
  /** Whether a copy and its acceptance are one step. @default false */
  readonly atomic?: boolean;
  /** Around the driver, outermost. */
  readonly wrap?: <D extends Driver>(driver: D) => D;
}

/** A bus on the memory broker whose parts break when the test says so, under a simulated clock. */
export async function faultyBench(options: FaultyOptions = {}): Promise<FaultyBench> {
  const { leaseMs = 30_000, atomic = false, wrap = (driver) => driver, ...rest } = options;
  const clock = simulation();
  const chance = simulation({ seed: 2 });
  const broker = new MemoryBroker();
  const faulty = new Faulty(() => chance.runtime.random());
  const open = (): Promise<MemoryBus> =>
    connect(wrap(faulty.driver(memory({ broker, leaseMs }), { atomic })), { runtime: clock.runtime, ...rest });
  const fates: SettledEvent[] = [];
  subscribe(events.settled.name, (event) => void fates.push(event as SettledEvent));
  return { clock, broker, faulty, bus: await clock.run(open()), another: () => clock.run(open()), fates };
}
