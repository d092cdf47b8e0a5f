/** The memory broker as a channel: broadcasts only, nothing is kept, nothing comes again. */
import {
  type Capabilities,
  type Connection,
  type Delivery,
  type Driver,
  DriverError,
  type Receiver,
} from "@sluice/core/driver";
import { replace } from "./mutant.ts";

function channelCapabilities(of: Capabilities): Capabilities {
  return {
    ...of,
    delivery: "at-most-once",
    group: "absent",
    ordered: "absent",
    priority: "absent",
    delay: { group: "absent", topic: "absent" },
    release: "absent",
    deliveries: "absent",
    commit: "absent",
    transactions: "absent",
    seek: "absent",
    browse: "absent",
    earliest: "absent",
    backlog: "absent",
    deadLetter: "absent",
  };
}

function unsupported(what: string): DriverError {
  return new DriverError("UNSUPPORTED", `memory: ${what} is not possible on a channel; use broadcast`);
}

export function asChannel(driver: Driver): Driver {
  return {
    ...driver,
    capabilities: channelCapabilities(driver.capabilities),
    async connect(context) {
      const connection = await driver.connect(context);
      return replace(connection, {
        capabilities: channelCapabilities(connection.capabilities),
        async sender() {
          const sender = await connection.sender();
          return replace(sender, {
            async send(items, signal) {
              if (items.every(({ to }) => to.group === undefined)) return sender.send(items, signal);
              return items.map(() => ({ outcome: "not-stored", error: unsupported("an own entry") }));
            },
          });
        },
        receiver: (sources, options) => openBroadcast(connection, sources, options),
      });
    },
  };
}

async function openBroadcast(
  connection: Connection,
  sources: Parameters<Connection["receiver"]>[0],
  options: Parameters<Connection["receiver"]>[1],
): Promise<Receiver> {
  if (sources.some((source) => !("broadcast" in source))) throw unsupported("a group");
  const receiver = await connection.receiver(sources, options);
  const open = new Set<Delivery>();
  return replace(receiver, {
    lease: undefined,
    async receive(max, signal) {
      const deliveries = await receiver.receive(max, signal);
      // Handed out is gone, whatever becomes of it.
      await receiver.settle((deliveries ?? []).map((delivery) => ({ delivery, accept: true })));
      for (const delivery of deliveries ?? []) open.add(delivery);
      return deliveries;
    },
    settle: async (settlements) => settlements.map(({ delivery }) => (open.delete(delivery) ? "durable" : "lost")),
  });
}
