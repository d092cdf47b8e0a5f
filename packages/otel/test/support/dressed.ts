import type { Connection, Declaration, Delivery, Driver } from "@sluice/core/driver";
import { memory, type MemoryCapabilities } from "@sluice/memory";
import { quiet } from "../../src/quiet.ts";

/** The memory driver under the name of another one, with its names on the broker and its native messages. */
export function dressed(other: Driver, native: unknown, shard = ""): Driver<MemoryCapabilities> {
  const own = memory();
  let declared: Declaration = { topics: [] };
  return {
    name: other.name,
    system: other.system,
    capabilities: own.capabilities,
    topology(declaration) {
      if (sizeOf(declaration) > sizeOf(declared)) declared = declaration;
      return other.topology(declaration);
    },
    async connect(context): Promise<Connection> {
      const connection = await own.connect(context);
      return quiet(connection, {
        provision: (_resources, mode, signal) => connection.provision(own.topology(declared), mode, signal),
        async receiver(sources, options) {
          const receiver = await connection.receiver(sources, options);
          return quiet(receiver, {
            async receive(most, signal) {
              const deliveries = await receiver.receive(most, signal);
              // n.b. the broker knows a delivery by its identity.
              for (const delivery of deliveries ?? [])
                Object.assign<Delivery, Partial<Delivery>>(delivery, { native, shard });
              return deliveries;
            },
          });
        },
      });
    },
  };
}

/** n.b. core also asks about one topic or group at a time. */
function sizeOf({ topics }: Declaration): number {
  return topics.reduce((sum, { groups }) => sum + 1 + groups.length, 0);
}
