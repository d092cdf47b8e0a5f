import type { MemoryBroker } from "@sluice/memory";
import type { Driver } from "@sluice/core/driver";
import { load } from "../load.ts";
import { read } from "../parameters.ts";
import { only, type Parts } from "../parts.ts";

const memoryParameters = { leaseMs: "number" } as const;

/** Named brokers of this process; they stay until it ends. */
const brokers = new Map<string, MemoryBroker>();

/** `memory:` is a broker of its own each time; `memory://name` is the same one for everybody in this process. */
export async function memoryDriver(parts: Parts): Promise<Driver> {
  only(parts, [], "use memory: or memory://name");
  const values = read(parts, memoryParameters);
  const { memory, MemoryBroker } = await load(parts.scheme, "@sluice/memory", () => import("@sluice/memory"));
  const name = parts.hosts[0]?.name;
  if (name === undefined) return memory(values);
  const broker = brokers.get(name) ?? new MemoryBroker();
  brokers.set(name, broker);
  return memory({ ...values, broker });
}
