/** The memory broker as a log: settled is only what comes before everything unsettled, and nothing can be given back alone. */
import type { Delivery, Driver, Receiver } from "@sluice/core/driver";
import { replace } from "./mutant.ts";

/** What a log's receiver makes durable, out of the deliveries in the order in which it handed them out. */
export type Prefix = (handedOut: readonly Delivery[], accepted: ReadonlySet<Delivery>) => readonly Delivery[];

/** Everything up to the first that is not accepted. */
export const contiguous: Prefix = (handedOut, accepted) => {
  const end = handedOut.findIndex((delivery) => !accepted.has(delivery));
  return handedOut.slice(0, end < 0 ? handedOut.length : end);
};

/** n.b. what the broker holds survives an outage: for the clients it is as good as on a disk. */
const differences = { release: "absent", commit: "absent", persistent: true } as const;

export function asLog(driver: Driver, committed: Prefix = contiguous): Driver {
  return {
    ...driver,
    capabilities: { ...driver.capabilities, ...differences },
    async connect(context) {
      const connection = await driver.connect(context);
      return replace(connection, {
        capabilities: { ...connection.capabilities, ...differences },
        async receiver(sources, options) {
          return logReceiver(await connection.receiver(sources, options), committed);
        },
      });
    },
  };
}

function logReceiver(receiver: Receiver, committed: Prefix): Receiver {
  const handedOut: Delivery[] = [];
  const accepted = new Set<Delivery>();
  const flush = async () => {
    const ready = committed(handedOut, accepted);
    if (ready.length === 0) return;
    for (const delivery of ready) {
      accepted.delete(delivery);
      handedOut.splice(handedOut.indexOf(delivery), 1);
    }
    await receiver.settle(ready.map((delivery) => ({ delivery, accept: true })));
  };
  return replace(receiver, {
    async receive(max, signal) {
      const deliveries = await receiver.receive(max, signal);
      handedOut.push(...(deliveries ?? []));
      return deliveries;
    },
    async settle(settlements) {
      for (const { delivery } of settlements) accepted.add(delivery);
      await flush();
      return settlements.map(() => "recorded");
    },
    flush,
    async close(signal) {
      await flush();
      await receiver.close(signal);
    },
  });
}
