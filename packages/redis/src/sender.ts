import { DriverError, type Runtime, type Sender, type SendItem, type SendResult } from "@sluice/core/driver";
import type { Link } from "./client.ts";
import { translate } from "./errors.ts";
import { Keys } from "./keys.ts";
import { textOf } from "./replies.ts";
import { storeAll } from "./scripts/store.ts";
import type { Together } from "./slots.ts";
import { nowhere, type Stores, type Write } from "./stores.ts";
import type { Topics } from "./topics.ts";
import { settled, unlessAborted } from "./waiting.ts";

export interface SenderParts {
  readonly link: Link;
  readonly runtime: Runtime;
  readonly stores: Stores;
  readonly topics: Topics;
  readonly together: Together;
  /** Makes what somebody deleted again; `false`: it is not ours to make. */
  readonly restore: (topic: string) => Promise<boolean>;
  readonly delayed: (topic: string, ms: number) => void;
  /** Something is in this topic's stream now. */
  readonly stored: (stream: string) => void;
}

interface Indexed {
  readonly index: number;
  readonly item: SendItem;
  readonly write: Write;
  readonly stream: string;
}

/** One script call per `send`, as far as a cluster allows: stored in order, each write once. */
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
    if (this.#closing || signal.aborted || !this.#parts.link.alive) {
      const gone = notStored(this.#gone());
      return items.map(() => gone);
    }
    const results = items.map(() => unanswered);
    const call = this.#sendAll(items, results, signal);
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
    await unlessAborted(Promise.allSettled(this.#calls), signal);
    this.#settled.resolve(undefined);
  }

  async #sendAll(items: readonly SendItem[], results: SendResult[], signal: AbortSignal): Promise<void> {
    const { topics, together, restore } = this.#parts;
    const names = new Set(items.map(({ to }) => to.topic));
    const shards = new Map<string, number>();
    try {
      for (const name of names) {
        const known = topics.shards(name);
        shards.set(name, typeof known === "number" ? known : await known);
      }
    } catch (error) {
      for (const index of items.keys()) results[index] = notStored(translate(error, "cannot send"));
      return;
    }
    const writes = this.#writes(items, shards, results);
    await Promise.all(together(writes).map((some) => this.#store(some, results, signal)));
    const lost = writes.filter(({ index }) => isMissing(results[index]));
    const places = new Set(lost.map(({ write }) => write.topic));
    const restored = await Promise.all([...places].map(async (topic) => ((await restore(topic)) ? topic : "")));
    const again = writes.filter(
      ({ index, write }) => restored.includes(write.topic) && results[index]?.outcome !== "stored",
    );
    await Promise.all(together(again).map((some) => this.#store(some, results, signal)));
  }

  /** What cannot be written is refused here, and everything later of its key with it. */
  #writes(items: readonly SendItem[], shards: ReadonlyMap<string, number>, results: SendResult[]): Indexed[] {
    const writes: Indexed[] = [];
    let failed: Set<string> | undefined;
    for (const [index, item] of items.entries()) {
      const { to, record } = item;
      if (failed?.has(keyOf(item))) {
        results[index] = notStored(earlier());
        continue;
      }
      try {
        const write = this.#parts.stores.write(item, shards.get(to.topic) ?? 1);
        writes.push({ index, item, write, stream: write.stream });
      } catch (error) {
        if (record.key !== null) (failed ??= new Set()).add(keyOf(item));
        results[index] = notStored(translate(error, `cannot send to topic "${to.topic}"`));
      }
    }
    return writes;
  }

  async #store(writes: readonly Indexed[], results: SendResult[], signal: AbortSignal): Promise<void> {
    const { link, stores } = this.#parts;
    const keys = new Keys();
    const args = stores.call(
      keys,
      writes.map(({ write }) => write),
    );
    const doing = `cannot send to topic "${writes[0]?.write.topic}"`;
    let answers: readonly unknown[] = [];
    try {
      const answer = await link.run(doing, storeAll, keys.list, args, { signal });
      answers = Array.isArray(answer) ? answer : [];
    } catch (error) {
      const failure = translate(error, doing);
      // The server's own word: nothing was stored. No word at all: who knows.
      const refused = failure.cause instanceof Error && failure.cause.name === "ReplyError";
      const outcome = refused ? "not-stored" : "unknown";
      const reason =
        failure.code === "ABORTED" ? new DriverError("UNAVAILABLE", failure.message, { cause: failure }) : failure;
      for (const { index } of writes) results[index] = { outcome, error: reason };
      return;
    }
    for (const [at, { index, item, write }] of writes.entries()) {
      const result = resultOf(textOf(answers[at]), item);
      results[index] = result;
      if (result.outcome !== "stored") continue;
      if (write.delayMs > 0) this.#parts.delayed(write.topic, write.delayMs);
      else if (write.group === "") this.#parts.stored(write.stream);
    }
  }

  #gone(): DriverError {
    if (!this.#closing && this.#parts.link.alive) {
      return new DriverError("ABORTED", "redis: the send was aborted; nothing was stored", { retryable: true });
    }
    return this.#closing
      ? new DriverError("LOST", "redis: the sender is closed; open another")
      : this.#parts.link.reason;
  }
}

function resultOf(answer: string, { to }: SendItem): SendResult {
  if (answer === "0") {
    const error = nowhere(to);
    return { outcome: error.code === "UNROUTABLE" ? "unroutable" : "not-stored", error };
  }
  if (answer === "-1") return notStored(earlier());
  if (answer.startsWith("error "))
    return notStored(translate(new Error(answer.slice(6)), `cannot send to topic "${to.topic}"`));
  return { outcome: "stored", native: answer };
}

/** Until there is an answer: every index gets its own. */
const unanswered: SendResult = {
  outcome: "unknown",
  error: new DriverError("UNAVAILABLE", "redis: the server gave no answer for a record"),
};

function earlier(): DriverError {
  return new DriverError("REFUSED", "redis: an earlier record was refused; send it again first");
}

/** The same for text and for its bytes: they are one key. */
function keyOf({ to, record: { key } }: SendItem): string {
  return `${to.topic} ${key === null ? "" : Buffer.from(key).toString("base64")}`;
}

function isMissing(result: SendResult | undefined): boolean {
  if (result === undefined || result.outcome === "stored") return false;
  return result.error.code === "NOT_FOUND" || result.error.code === "UNROUTABLE";
}

function notStored(error: DriverError): SendResult {
  return { outcome: "not-stored", error };
}
