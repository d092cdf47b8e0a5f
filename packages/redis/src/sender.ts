import {
  DriverError,
  type Runtime,
  type Sender,
  type SendItem,
  type SendResult,
} from "@sluice/core/driver";
import type { Link } from "./client.ts";
import { translate } from "./errors.ts";
import { textOf } from "./replies.ts";
import { storeAll } from "./scripts/store.ts";
import { nowhere, type Stores, type Write } from "./stores.ts";
import type { Topics } from "./topics.ts";
import { settled } from "./waiting.ts";

export interface SenderParts {
  readonly link: Link;
  readonly runtime: Runtime;
  readonly stores: Stores;
  readonly topics: Topics;
  /** Makes what somebody deleted again; `false`: it is not ours to make. */
  restore(topic: string): Promise<boolean>;
  delayed(topic: string, ms: number): void;
}

interface Indexed {
  readonly index: number;
  readonly item: SendItem;
}

/** One script call per topic and `send`: stored in order, each write once. */
export class RedisSender implements Sender {
  readonly closed: Promise<DriverError | undefined>;
  readonly #settled = settled<DriverError | undefined>();
  readonly #parts: SenderParts;
  readonly #calls = new Set<Promise<unknown>>();
  #closing: Promise<void> | undefined;

  constructor(parts: SenderParts) {
    this.#parts = parts;
    this.closed = this.#settled.promise;
    void parts.link.closed.then((reason) => this.#settled.resolve(this.#closing ? undefined : reason));
  }

  async send(items: readonly SendItem[], signal: AbortSignal): Promise<readonly SendResult[]> {
    const results: SendResult[] = items.map(() => notStored(this.#gone()));
    if (this.#closing || signal.aborted) return results;
    const topics = new Map<string, Indexed[]>();
    for (const [index, item] of items.entries()) {
      const list = topics.get(item.to.topic);
      if (list) list.push({ index, item });
      else topics.set(item.to.topic, [{ index, item }]);
    }
    const call = Promise.all([...topics].map(([topic, list]) => this.#sendTopic(topic, list, results, signal)));
    this.#calls.add(call);
    await call;
    this.#calls.delete(call);
    return results;
  }

  close(signal: AbortSignal): Promise<void> {
    this.#closing ??= this.#close(signal);
    return this.#closing;
  }

  async #close(signal: AbortSignal): Promise<void> {
    await new Promise<void>((resolve) => {
      signal.addEventListener("abort", () => resolve(), { once: true });
      if (signal.aborted) resolve();
      void Promise.allSettled(this.#calls).then(() => resolve());
    });
    this.#settled.resolve(undefined);
  }

  async #sendTopic(topic: string, list: readonly Indexed[], results: SendResult[], signal: AbortSignal): Promise<void> {
    try {
      const shards = this.#parts.topics.shards(topic);
      // n.b. no turn of the event loop when it is known: later calls must not overtake.
      const { taken, writes } = this.#writes(list, typeof shards === "number" ? shards : await shards, results);
      if (taken.length === 0) return;
      await this.#store(topic, taken, writes, results, signal);
      const missing = taken.some(({ index }) => codeOf(results[index]) === "NOT_FOUND" || codeOf(results[index]) === "UNROUTABLE");
      if (!missing || !(await this.#parts.restore(topic))) return;
      const again = [...taken.keys()].filter((at) => results[taken[at]?.index ?? -1]?.outcome !== "stored");
      const pick = <T>(all: readonly T[]) => again.flatMap((at) => all[at] ?? []);
      await this.#store(topic, pick(taken), pick(writes), results, signal);
    } catch (error) {
      // Before anything of this topic was sent.
      for (const { index } of list) results[index] = notStored(translate(error, `cannot send to topic "${topic}"`));
    }
  }

  /** What cannot be written is refused here, and everything later of its key with it. */
  #writes(list: readonly Indexed[], shards: number, results: SendResult[]): { taken: Indexed[]; writes: Write[] } {
    const taken: Indexed[] = [];
    const writes: Write[] = [];
    const failed = new Set<string>();
    for (const each of list) {
      const key = each.item.record.key === null ? "" : `k${Buffer.from(each.item.record.key).toString("base64")}`;
      if (failed.has(key) && key !== "") {
        results[each.index] = notStored(earlier());
        continue;
      }
      try {
        writes.push(this.#parts.stores.write(each.item, shards));
        taken.push(each);
      } catch (error) {
        failed.add(key);
        results[each.index] = notStored(translate(error, "cannot send"));
      }
    }
    return { taken, writes };
  }

  async #store(
    topic: string,
    taken: readonly Indexed[],
    writes: readonly Write[],
    results: SendResult[],
    signal: AbortSignal,
  ): Promise<void> {
    const { link, stores } = this.#parts;
    const { keys, args } = stores.call(topic, writes);
    const doing = `cannot send to topic "${topic}"`;
    let answers: readonly unknown[] = [];
    try {
      const answer = await link.run(doing, storeAll, keys, args, { signal });
      answers = Array.isArray(answer) ? answer : [];
    } catch (error) {
      const failure = translate(error, doing);
      // The server's own word: nothing was stored. No word at all: who knows.
      const refused = failure.cause instanceof Error && failure.cause.name === "ReplyError";
      const outcome = refused ? "not-stored" : "unknown";
      const code = failure.code === "ABORTED" ? new DriverError("UNAVAILABLE", failure.message, { cause: failure }) : failure;
      for (const { index } of taken) results[index] = { outcome, error: code };
      return;
    }
    for (const [at, { index, item }] of taken.entries()) {
      const write = writes[at];
      results[index] = resultOf(textOf(answers[at]), item, doing);
      if (write && write.delayMs > 0 && results[index].outcome === "stored") this.#parts.delayed(topic, write.delayMs);
    }
  }

  #gone(): DriverError {
    if (!this.#closing && this.#parts.link.alive) {
      return new DriverError("ABORTED", "redis: the send was aborted; nothing was stored", { retryable: true });
    }
    return this.#closing ? new DriverError("LOST", "redis: the sender is closed; open another") : this.#parts.link.reason;
  }
}

function resultOf(answer: string, { to }: SendItem, doing: string): SendResult {
  if (answer === "0") {
    const error = nowhere(to);
    return { outcome: error.code === "UNROUTABLE" ? "unroutable" : "not-stored", error };
  }
  if (answer === "-1") return notStored(earlier());
  if (answer.startsWith("error ")) return notStored(translate(new Error(answer.slice(6)), doing));
  return { outcome: "stored", native: answer };
}

function earlier(): DriverError {
  return new DriverError("REFUSED", "redis: an earlier record was refused; send it again first");
}

function codeOf(result: SendResult | undefined): string | undefined {
  return result === undefined || result.outcome === "stored" ? undefined : result.error.code;
}

function notStored(error: DriverError): SendResult {
  return { outcome: "not-stored", error };
}
