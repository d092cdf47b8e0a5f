import { type Bus, connect, type ConnectOptions, type Topic, topic } from "@sluice/core";
import { memory, MemoryBroker, simulation, type Simulation } from "@sluice/memory";

type MemoryBus = Bus<ReturnType<typeof memory>["capabilities"]>;

export interface Bench {
  readonly clock: Simulation;
  readonly broker: MemoryBroker;
  readonly bus: MemoryBus;
}

export interface Order {
  readonly orderId: string;
}

export const Orders: Topic<Order, Order> = topic<Order>("orders", { groups: ["billing"] });
export const Invoices: Topic<Order, Order> = topic<Order>("invoices", { groups: ["mail"] });

/** A bus on the memory broker, under the clock that the middleware has, too. */
export async function bench(options: ConnectOptions = {}, clock: Simulation = simulation()): Promise<Bench> {
  const broker = new MemoryBroker();
  return { clock, broker, bus: await clock.run(connect(memory({ broker }), { runtime: clock.runtime, ...options })) };
}
