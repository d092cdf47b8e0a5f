import {
  type ConnectContext,
  type Connection,
  type Declaration,
  type Driver,
  DriverError,
  type Resource,
} from "@sluice/core/driver";
import { type KafkaCapabilities, capabilities } from "./capabilities.ts";
import { KafkaConnection } from "./connection.ts";
import { toDriverError } from "./errors.ts";
import { type KafkaJsClient, openKafkaJs } from "./kafkajs/client.ts";
import { type KafkaOptions, normalize } from "./options.ts";
import type { KafkaMessage } from "./record.ts";
import { topologyOf } from "./topology.ts";

/** Connecting fails within 10 s in any case. */
const connectLimitMs = 9_500;

/**
 * Kafka 3.9 and later, on kafkajs.
 *
 * @throws DriverError `CONFIG` for an option that cannot work
 */
export function kafka(options: KafkaOptions): Driver<KafkaCapabilities, KafkaMessage, KafkaJsClient> {
  const config = normalize(options);
  return {
    name: "kafka",
    system: "kafka",
    capabilities,
    topology: (declaration: Declaration): readonly Resource[] => topologyOf(declaration, config.names),
    async connect(context: ConnectContext): Promise<Connection> {
      const limit = new AbortController();
      const abort = (): void => limit.abort();
      const cancel = context.runtime.timer(connectLimitMs, abort);
      context.signal.addEventListener("abort", abort, { once: true });
      const where = config.brokers.join(", ");
      try {
        if (context.signal.aborted) abort();
        const client = await openKafkaJs(config, context.clientName, context.runtime, limit.signal);
        return new KafkaConnection(client, config, context);
      } catch (error) {
        if (context.signal.aborted)
          throw new DriverError("ABORTED", `kafka: connecting to ${where} was ended by its signal`, { cause: error });
        if (limit.signal.aborted) {
          throw new DriverError(
            "UNAVAILABLE",
            `kafka: no answer from ${where} within ${connectLimitMs} ms; check the addresses and that the broker listens there`,
            { cause: error },
          );
        }
        throw toDriverError(error, `cannot connect to ${where}`, "check addresses, TLS and login");
      } finally {
        cancel();
        context.signal.removeEventListener("abort", abort);
      }
    },
  };
}
