import { connect, topic } from "@sluice/core";
import type { Driver } from "@sluice/core/driver";
import type { Broker, Contender } from "../contender.ts";
import { makeOrder, type Order } from "../order.ts";

const group = "bench";

/** Sluice with its defaults: every publish is a call of its own, and so is every handler. */
export async function openSluice(broker: Broker, address: string, name: string, keyed: boolean): Promise<Contender> {
  const orders = topic<Order>(name, {
    groups: [group],
    ...(keyed ? { key: (order: Order) => order.customerId } : {}),
  });
  const bus = await connect(await driverOf(broker, address));
  const producer = bus.producer(orders);
  return {
    async publish(count, inFlight) {
      let next = 0;
      const caller = async (): Promise<void> => {
        while (next < count) await producer.send(makeOrder(next++));
      };
      await Promise.all(Array.from({ length: inFlight }, caller));
    },
    async publishOne(order) {
      await producer.send(order);
    },
    async consume(concurrency, handle) {
      await bus.subscribe(orders, { group, concurrency }, handle);
    },
    close: () => bus.close(),
  };
}

async function driverOf(broker: Broker, address: string): Promise<Driver> {
  if (broker === "kafka") return (await import("@sluice/kafka")).kafka({ brokers: address.split(",") });
  return (await import("@sluice/rabbitmq")).rabbitmq({ url: address });
}
