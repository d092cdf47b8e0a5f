import { DriverError } from "@sluice/core/driver";
import type { ConnectContext, Connection, Driver } from "@sluice/core/driver";
import { engineOf, MemoryBroker } from "./broker.ts";
import { capabilities } from "./capabilities.ts";
import type { MemoryCapabilities } from "./capabilities.ts";
import { MemoryConnection } from "./connection.ts";
import { resolveOptions } from "./options.ts";
import type { MemoryOptions } from "./options.ts";
import type { MemoryMessage } from "./record.ts";
import { topology } from "./topology.ts";

export type MemoryDriver = Driver<MemoryCapabilities, MemoryMessage, MemoryBroker>;

/**
 * The embedded broker: real groups, leases, redelivery, delays, dead letters and broadcast, inside this process. It stores
 * nothing on disk: what is not settled when the process ends is gone. Throws a DriverError `CONFIG` for a bad option.
 */
export function memory(options: MemoryOptions = {}): MemoryDriver {
  const broker = options.broker ?? new MemoryBroker();
  const resolved = resolveOptions(options);
  return {
    name: "memory",
    system: "memory",
    capabilities,
    topology,
    connect(context: ConnectContext): Promise<Connection> {
      return new Promise((resolve, reject) => {
        context.runtime.defer(() => {
          const { outage } = engineOf(broker);
          if (context.signal.aborted) {
            const { reason } = context.signal;
            reject(new DriverError("ABORTED", "memory: connecting was aborted; connect again", { cause: reason }));
          } else if (outage !== undefined) reject(outage);
          else resolve(new MemoryConnection(broker, resolved, context));
        });
      });
    },
  };
}
