import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { context as otelContext } from "@opentelemetry/api";
import { type DuplicateEvent, events } from "@sluice/core";
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
import { beginMoves, deadLetterReasons, ofCommit, ofSend } from "./moves.ts";
import type { Place } from "./places.ts";
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
      void connection.closed.then(countDuplicates(parts));
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
    const place = parts.places.handling(source.topic, source.group);
    guarded(undefined, () => beginAtZero(parts, place));
    // n.b. groups without names would report over each other.
    if (place.named) void receiver.closed.then(backlogs.watch(connection, source, place.metric, parts.runtime));
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

/** A rate of a counter that begins at 1 is 0: what should never happen is there before it happens. */
function beginAtZero({ metrics }: Parts, { metric }: Place): void {
  const { instruments } = metrics;
  if (!instruments) return;
  for (const counter of [instruments.retries, instruments.lost, instruments.duplicates]) counter.add(0, metric);
  for (const reason of deadLetterReasons) {
    instruments.deadLetters.add(0, { ...metric, "sluice.dead_letter.reason": reason });
  }
}

/** Counts what middleware that deduplicates recognises, on whatever bus; until the answer is called. */
function countDuplicates({ metrics, places, handled }: Parts): () => void {
  const count = (event: unknown): void =>
    guarded(undefined, () => {
      const { topic, group, context } = event as DuplicateEvent;
      // Not a message of this bus, or counted already: while a connection replaces another one, both listen.
      const message = handled.get(context);
      if (!message?.counted) return;
      message.counted = false;
      metrics.instruments?.duplicates.add(1, places.handling(topic, group).metric);
    });
  subscribe(events.duplicate.name, count);
  return () => void unsubscribe(events.duplicate.name, count);
}

function countLost({ metrics, places }: Parts, deliveries: readonly Delivery[]): void {
  for (const { source } of deliveries) {
    if (source.topic === undefined) continue;
    const { metric } = places.handling(source.topic, "group" in source ? source.group : source.broadcast);
    metrics.instruments?.lost.add(1, metric);
  }
}
