import { type Bus, connect, type ConnectOptions, type Topic, topic } from "@sluice/core";
import type { Driver } from "@sluice/core/driver";
import { memory, MemoryBroker, type MemoryCapabilities, simulation, type Simulation } from "@sluice/memory";
import { otel, type OtelOptions, type Telemetry } from "../../src/index.ts";

export const Orders: Topic<{ orderId: string }> = topic<{ orderId: string }>("orders", { groups: ["billing"] });
export const Invoices: Topic<string> = topic<string>("invoices", { groups: ["mail"] });

export interface Bench {
  readonly clock: Simulation;
  readonly bus: Bus<MemoryCapabilities>;
  readonly telemetry: Telemetry<Driver<MemoryCapabilities>>;
}

/** A bus with telemetry on the memory broker, under a simulated clock. */
export async function bench(
  options: OtelOptions = {},
  connecting: ConnectOptions = {},
  driver: Driver<MemoryCapabilities> = memory({ broker: new MemoryBroker() }),
): Promise<Bench> {
  const clock = simulation();
  const telemetry = otel(driver, options);
  const { middleware } = telemetry;
  const given = { runtime: clock.runtime, clientName: "svc", middleware, ...connecting };
  const bus = await clock.run(connect(telemetry.driver, given));
  return { clock, bus, telemetry };
}
