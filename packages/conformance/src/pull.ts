/** The pull consumer with every step in the ledger. */
import type { Bus, Consumer, ConsumerOptions } from "@sluice/core";
import { within } from "./clock.ts";
import type { CaseContext, ItemTopic } from "./context.ts";
import { quickRetry } from "./flow.ts";
import type { Item } from "./payload.ts";

type Delivered = Consumer<Item> extends AsyncIterable<infer Each> ? Each : never;

export interface Pull {
  /** The next delivery; `undefined` when the stream ended. */
  next(): Promise<Delivered | undefined>;
  /** Records the effect, then settles. */
  done(delivered: Delivered): Promise<void>;
  /** Reads until the stream ends, and gives back what still came. */
  untilEnd(): Promise<void>;
  close(): Promise<void>;
}

export async function openPull(
  context: CaseContext,
  bus: Bus,
  topic: ItemTopic,
  group: string,
  options: Partial<ConsumerOptions> = {},
): Promise<Pull> {
  const consumer = await bus.consumer(topic, { retry: quickRetry, ...options, group });
  const iterator = consumer[Symbol.asyncIterator]();
  const fields = (delivered: Delivered) => ({
    topic: topic.name,
    group,
    id: delivered.message.id,
    key: delivered.payload.key,
    n: delivered.payload.n,
    attempt: delivered.message.attempt,
  });
  const pull: Pull = {
    async next() {
      const step = await iterator.next();
      if (step.done) return undefined;
      context.ledger.write("handler-start", fields(step.value));
      return step.value;
    },
    async done(delivered) {
      context.ledger.write("effect", fields(delivered));
      delivered.done();
    },
    async untilEnd() {
      for (let left = await pull.next(); left !== undefined; left = await pull.next()) left.defer(0);
    },
    close: async () => {
      await consumer.close();
    },
  };
  return pull;
}

/** Takes and settles exactly `count` deliveries. */
export async function pullSome(context: CaseContext, pull: Pull, count: number): Promise<void> {
  for (let taken = 0; taken < count; taken++) {
    const delivered = await within(context.limits().idleMs, `delivery ${taken + 1} of ${count}`, pull.next(), () =>
      context.journal.tail(),
    );
    if (!delivered) throw new Error(`the stream ended after ${taken} of ${count}\n${context.journal.tail()}`);
    await pull.done(delivered);
  }
}
