import { context as otelContext } from "@opentelemetry/api";
import type {
  Capabilities,
  ConnectContext,
  Connection,
  Delivery,
  Driver,
  Receiver,
  Sender,
  Source,
} from "@sluice/core/driver";
import type { Backlogs } from "./backlogs.ts";
import { beginMoves, ofCommit, ofSend } from "./moves.ts";
import { quiet, quietly } from "./quiet.ts";
import { guarded, isObserved, type Parts } from "./telemetry.ts";

/**
 * The driver, as core sees it, with telemetry around: copies that core makes, messages that get lost, what waits on the broker.
 * Without an SDK its connections are the driver's own.
 */
export function observed<C extends Capabilities, Message, Client>(
  driver: Driver<C, Message, Client>,
  parts: Parts,
  backlogs: Backlogs,
): Driver<C, Message, Client> {
  return {
    name: driver.name,
    system: driver.system,
    capabilities: driver.capabilities,
    topology(declaration) {
      parts.places.declare(declaration.topics);
      return driver.topology(declaration);
    },
    async connect(context) {
      if (!isObserved(parts)) return driver.connect(context);
      const connection = await quietly(() => driver.connect(withReport(context)));
      parts.runtime = context.runtime;
      parts.places.clientName = context.clientName;
      parts.limits = connection.limits;
      return quiet(connection, {
        sender: async () => observedSender(await quietly(() => connection.sender()), parts),
        receiver: (sources, options) => observedReceiver(connection, sources, options, parts, backlogs),
      });
    },
  };
}

/** What comes out of the driver by itself is not part of its silence. */
function withReport(context: ConnectContext): ConnectContext {
  return { ...context, report: otelContext.bind(otelContext.active(), (event) => context.report(event)) };
}

function observedSender(sender: Sender, parts: Parts): Sender {
  return quiet(sender, {
    async send(items, signal) {
      const ends = guarded([], () => (items.some(({ from }) => from) ? beginMoves(parts, items) : []));
      const results = await quietly(() => sender.send(items, signal));
      guarded(undefined, () => ends.forEach((end, index) => end(ofSend(results[index]))));
      return results;
    },
  });
}

async function observedReceiver(
  connection: Connection,
  sources: readonly Source[],
  options: Parameters<Connection["receiver"]>[1],
  parts: Parts,
  backlogs: Backlogs,
): Promise<Receiver> {
  const lost = otelContext.bind(otelContext.active(), (...[deliveries, reason]: Parameters<typeof options.lost>) => {
    guarded(undefined, () => countLost(parts, deliveries));
    options.lost(deliveries, reason);
  });
  const receiver = await quietly(() => connection.receiver(sources, { ...options, lost }));
  for (const source of sources) {
    if (!("group" in source) || source.deadLetter) continue;
    const { metric } = parts.places.handling(source.topic, source.group);
    void receiver.closed.then(backlogs.watch(connection, source, metric, parts.runtime));
  }
  const commit = receiver.commit?.bind(receiver);
  if (!commit) return quiet(receiver, {});
  return quiet(receiver, {
    async commit(units) {
      const ends = guarded([], () => units.map(({ send }) => beginMoves(parts, send)));
      const results = await quietly(() => commit(units));
      guarded(undefined, () => ends.forEach((unit, index) => unit.forEach((end) => end(ofCommit(results[index])))));
      return results;
    },
  });
}

function countLost({ metrics, places }: Parts, deliveries: readonly Delivery[]): void {
  for (const { source } of deliveries) {
    if (source.topic === undefined) continue;
    const { metric } = places.handling(source.topic, "group" in source ? source.group : source.broadcast);
    metrics.instruments?.lost.add(1, metric);
  }
}
