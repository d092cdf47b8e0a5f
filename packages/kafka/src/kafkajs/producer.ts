import type { Runtime } from "@sluice/core/driver";
import type { ProducerClient } from "../client.ts";
import type { KafkaConfig } from "../options.ts";
import { within } from "../waiting.ts";
import { compressionType } from "./codecs.ts";
import { backOff } from "./back-off.ts";
import type { EngineRoom } from "./engine.ts";

/** Retries keep the producer's id and sequence, so they cannot double; our signal ends them, not a count. */
const untilDisposed = { ...backOff, retries: 1_000_000 };
const openLimitMs = 9_500;

export async function openProducer(
  config: KafkaConfig,
  engines: EngineRoom,
  runtime: Runtime,
): Promise<ProducerClient> {
  const engine = engines.open({ retry: untilDisposed });
  const producer = engine.kafka.producer({
    idempotent: true,
    allowAutoTopicCreation: false,
    metadataMaxAge: config.metadataMaxAge,
    retry: untilDisposed,
    // The partition is fixed before kafkajs sees the record: its own partitioner runs again on every retry.
    createPartitioner:
      () =>
      ({ message }) =>
        message.partition ?? 0,
  });
  const cancel = runtime.timer(openLimitMs, () => engine.dispose());
  try {
    await producer.connect();
  } catch (error) {
    engine.dispose();
    throw error;
  } finally {
    cancel();
  }
  return {
    get requestsWritten() {
      return engine.requestsWritten;
    },
    async send(batch) {
      const topicMessages = batch.map(({ topic, messages }) => ({ topic, messages: [...messages] }));
      await producer.sendBatch({ acks: -1, compression: compressionType(config.compression), topicMessages });
    },
    dispose: () => engine.dispose(),
    async close(graceMs) {
      await within(runtime, graceMs, producer.disconnect());
      engine.dispose();
    },
  };
}
