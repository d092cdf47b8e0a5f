import { DriverError, type Runtime, type Sender, type SendItem, type SendResult } from "@sluice/core/driver";
import { type NativeMessage, type Published, Publisher } from "./publisher.ts";
import { toNative } from "./record.ts";
import type { Routes } from "./routes.ts";
import { orAborted, settled } from "./settled.ts";
import type { Channels } from "./channels.ts";
import { translate } from "./errors.ts";

/** The service's limits of one request, with room for what surrounds the messages. */
const mostMessages = 1_000;
const mostBytes = 9_900_000;

interface Prepared {
  readonly index: number;
  readonly message: NativeMessage;
  readonly bytes: number;
}

/** Messages of one topic and one ordering key. */
interface Bundle {
  readonly topic: string;
  /** Where it goes in the end: the same, but for what has to wait. */
  readonly final: string;
  readonly entries: Prepared[];
}

/** Sends to all destinations. Heals inside: a request that failed says so in its results, and the next one may succeed. */
export class GooglePubsubSender implements Sender {
  readonly closed: Promise<DriverError | undefined>;
  readonly #settled = settled<DriverError | undefined>();
  readonly #publisher: Publisher;
  readonly #routes: Routes;
  readonly #runtime: Runtime;
  readonly #closing = new AbortController();
  readonly #calls = new Set<Promise<unknown>>();

  constructor(channels: Channels, routes: Routes, runtime: Runtime) {
    this.#publisher = new Publisher(channels);
    this.#routes = routes;
    this.#runtime = runtime;
    this.closed = this.#settled.promise;
  }

  async send(items: readonly SendItem[], signal: AbortSignal): Promise<readonly SendResult[]> {
    const call = this.#send(items, signal);
    this.#calls.add(call);
    try {
      return await call;
    } finally {
      this.#calls.delete(call);
    }
  }

  async close(signal: AbortSignal): Promise<void> {
    const flushed = Promise.allSettled(this.#calls);
    await orAborted(flushed, signal);
    this.#closing.abort();
    await flushed;
    this.#settled.resolve(undefined);
  }

  async #send(items: readonly SendItem[], signal: AbortSignal): Promise<readonly SendResult[]> {
    const results: (SendResult | undefined)[] = items.map(() => undefined);
    const ends = new AbortController();
    const abort = () => ends.abort(signal.reason);
    const sources = [signal, this.#closing.signal];
    for (const source of sources) {
      if (source.aborted) abort();
      source.addEventListener("abort", abort, { once: true });
    }
    await Promise.all(this.#bundles(items, results).map((bundle) => this.#publish(bundle, ends.signal, results)));
    for (const source of sources) source.removeEventListener("abort", abort);
    return results.map((result) => result ?? failed(new DriverError("UNKNOWN", "google-pubsub: no result")));
  }

  /** What the wire cannot carry has its result already. */
  #bundles(items: readonly SendItem[], results: (SendResult | undefined)[]): readonly Bundle[] {
    const bundles = new Map<string, Bundle>();
    const now = this.#runtime.wallMs();
    for (const [index, item] of items.entries()) {
      try {
        const waiting = item.notBefore !== undefined && item.notBefore > now;
        const message = toNative(item, waiting);
        const topic = waiting ? this.#routes.waiting : this.#routes.topicOf(item.to);
        // The place behind the waiting place is looked at as well: now somebody is there to be told.
        const final = waiting ? this.#routes.topicOf(item.to) : topic;
        const name = `${topic} ${final} ${message.orderingKey ?? ""}`;
        let bundle = bundles.get(name);
        if (!bundle) bundles.set(name, (bundle = { topic, final, entries: [] }));
        bundle.entries.push({ index, message, bytes: sizeOf(message) });
      } catch (error) {
        results[index] = failed(translate(error, "cannot send"));
      }
    }
    return [...bundles.values()];
  }

  async #publish(
    { topic, final, entries }: Bundle,
    signal: AbortSignal,
    results: (SendResult | undefined)[],
  ): Promise<void> {
    const chunks = chunked(entries);
    const check = async (ends: AbortSignal) => (await this.#problem(final, ends)) ?? (await this.#problem(topic, ends));
    const published = await Promise.all(
      chunks.map((chunk) =>
        this.#publisher.publish(
          topic,
          chunk.map(({ message }) => message),
          check,
          signal,
        ),
      ),
    );
    for (const [at, chunk] of chunks.entries()) {
      for (const [offset, { index }] of chunk.entries()) results[index] = resultOf(published[at]?.[offset]);
    }
    if (entries.some(({ index }) => isMissing(results[index]))) this.#routes.forget(topic);
  }

  async #problem(topic: string, signal: AbortSignal): Promise<DriverError | undefined> {
    return this.#routes.isKnown(topic) ? undefined : this.#routes.check(topic, signal);
  }
}

function chunked(entries: readonly Prepared[]): readonly (readonly Prepared[])[] {
  const chunks: Prepared[][] = [];
  let bytes = 0;
  for (const entry of entries) {
    const last = chunks.at(-1);
    if (last && last.length < mostMessages && bytes + entry.bytes <= mostBytes) last.push(entry);
    else {
      chunks.push([entry]);
      bytes = 0;
    }
    bytes += entry.bytes;
  }
  return chunks;
}

function sizeOf({ data, attributes }: NativeMessage): number {
  let bytes = (data?.length ?? 0) + 64;
  for (const name in attributes) bytes += name.length + 3 * (attributes[name]?.length ?? 0) + 8;
  return bytes;
}

function resultOf(published: Published | undefined): SendResult {
  if (!published) return failed(new DriverError("UNKNOWN", "google-pubsub: no result"));
  if ("messageId" in published) return { outcome: "stored", native: published.messageId };
  const { error, unknown } = published;
  if (error.code === "UNROUTABLE") return { outcome: "unroutable", error };
  return { outcome: unknown ? "unknown" : "not-stored", error };
}

function failed(error: DriverError): SendResult {
  return { outcome: "not-stored", error };
}

function isMissing(result: SendResult | undefined): boolean {
  return result?.outcome === "not-stored" && result.error.code === "NOT_FOUND";
}
