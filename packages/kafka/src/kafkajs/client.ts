import type { Runtime } from "@sluice/core/driver";
import type { Kafka } from "kafkajs";
import type { KafkaClient } from "../client.ts";
import type { KafkaConfig } from "../options.ts";
import { within } from "../waiting.ts";
import { adminClient } from "./admin.ts";
import { clusterOf } from "./cluster.ts";
import { codecFor, registerCodecs } from "./codecs.ts";
import { createConsumer } from "./consumer.ts";
import { EngineRoom } from "./engine.ts";
import { openProducer } from "./producer.ts";
import { serverOf } from "./server.ts";
import { openTransactions } from "./transactions.ts";

export type KafkaJsClient = Kafka;

/** Connects and authenticates the administrative connection; the caller's signal ends the attempt. */
export async function openKafkaJs(
  config: KafkaConfig,
  clientName: string,
  runtime: Runtime,
  signal: AbortSignal,
): Promise<KafkaClient> {
  await registerCodecs();
  const { compress } = await codecFor(config.compression);
  const engines = new EngineRoom({ config, clientName, compress });
  const engine = engines.open();
  const abort = (): void => engine.dispose();
  signal.addEventListener("abort", abort, { once: true });
  try {
    const admin = engine.kafka.admin();
    const cluster = await clusterOf(engine.kafka);
    await Promise.all([admin.connect(), cluster.connect()]);
    await cluster.refreshMetadata();
    const client = adminClient(admin, cluster, runtime);
    await client.ping();
    return {
      native: engine.kafka,
      server: await serverOf(cluster, config.brokers.join(", ")),
      admin: client,
      producer: () => openProducer(config, engines, runtime),
      transactions: (id) => openTransactions(config, engines, runtime, id),
      consumer: (settings, events) => createConsumer(config, engines, runtime, settings, events),
      async close(graceMs) {
        await within(runtime, graceMs, Promise.all([admin.disconnect(), cluster.disconnect()]));
        // Also what is still connecting: nothing outlives this call.
        engines.dispose();
      },
    };
  } catch (error) {
    engine.dispose();
    throw error;
  } finally {
    signal.removeEventListener("abort", abort);
  }
}
