import { type Runtime, sleep } from "@sluice/core/driver";
import type { Transaction } from "kafkajs";
import type { CommitPosition, TransactionClient } from "../client.ts";
import type { KafkaConfig } from "../options.ts";
import { within } from "../waiting.ts";
import { compressionType } from "./codecs.ts";
import { backOff } from "./back-off.ts";
import type { EngineRoom } from "./engine.ts";

/** n.b. right after a commit the broker still writes its markers, and answers "not yet": with a longer wait that is all a producer does. */
const transactionRetry = { ...backOff, initialRetryTime: 5, maxRetryTime: 200, retries: 30 };
const markersMs = 10;
const markersTries = 200;
/** Without a successor, an open transaction of a dead process holds up its readers for so long. */
const timeoutMs = 15_000;

/** A producer with this transactional id. Opening it fences every other one. */
export async function openTransactions(
  config: KafkaConfig,
  engines: EngineRoom,
  runtime: Runtime,
  id: string,
): Promise<TransactionClient> {
  const engine = engines.open({ retry: transactionRetry });
  const producer = engine.kafka.producer({
    transactionalId: id,
    transactionTimeout: timeoutMs,
    idempotent: true,
    maxInFlightRequests: 1,
    allowAutoTopicCreation: false,
    metadataMaxAge: config.metadataMaxAge,
    retry: transactionRetry,
    createPartitioner:
      () =>
      ({ message }) =>
        message.partition ?? 0,
  });
  let next: Transaction;
  try {
    await producer.connect();
    next = await producer.transaction();
  } catch (error) {
    engine.dispose();
    throw error;
  }
  return {
    async commit(rounds, groupId, positions, ending) {
      const transaction = next.isActive() ? next : await producer.transaction();
      next = transaction;
      for (const round of rounds) {
        const topicMessages = round.map(({ topic, messages }) => ({ topic, messages: [...messages] }));
        await transaction.sendBatch({ acks: -1, compression: compressionType(config.compression), topicMessages });
      }
      await sendOffsets(runtime, transaction, groupId, positions);
      ending();
      await transaction.commit();
    },
    dispose: () => engine.dispose(),
    async close(graceMs) {
      await within(runtime, graceMs, producer.disconnect());
      engine.dispose();
    },
  };
}

/** n.b. kafkajs does not try again when the markers of the last transaction are not written yet, which only means "later". */
async function sendOffsets(
  runtime: Runtime,
  transaction: Transaction,
  consumerGroupId: string,
  positions: readonly CommitPosition[],
): Promise<void> {
  const topics = [...Map.groupBy(positions, ({ topic }) => topic)].map(([topic, partitions]) => ({
    topic,
    partitions: partitions.map(({ partition, offset, metadata }) => ({ partition, offset: String(offset), metadata })),
  }));
  for (let attempt = 1; ; attempt += 1) {
    try {
      await transaction.sendOffsets({ consumerGroupId, topics });
      return;
    } catch (error) {
      const type: unknown = typeof error === "object" && error !== null ? Reflect.get(error, "type") : undefined;
      if (type !== "CONCURRENT_TRANSACTIONS" || attempt >= markersTries) throw error;
      await sleep(runtime, markersMs);
    }
  }
}
