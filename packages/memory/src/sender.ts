import { DriverError } from "@sluice/core/driver";
import type { Key, Limits, Runtime, Sender, SendItem, SendResult } from "@sluice/core/driver";
import type { Engine } from "./engine.ts";
import { refuseByLimits } from "./limits.ts";
import { keyBytes, toStored } from "./record.ts";

/** Stores at the call, answers one turn of the event loop later. */
export class MemorySender implements Sender {
  readonly closed: Promise<DriverError | undefined>;
  readonly #engine: Engine;
  readonly #runtime: Runtime;
  readonly #limits: Limits;
  readonly #resolveClosed: (reason: DriverError | undefined) => void;
  #finished: DriverError | undefined;
  #failed = false;

  constructor(engine: Engine, runtime: Runtime, limits: Limits) {
    this.#engine = engine;
    this.#runtime = runtime;
    this.#limits = limits;
    const { promise, resolve } = Promise.withResolvers<DriverError | undefined>();
    this.closed = promise;
    this.#resolveClosed = resolve;
  }

  send(items: readonly SendItem[], signal: AbortSignal): Promise<readonly SendResult[]> {
    const results = this.#store(items, signal);
    return new Promise((resolve) => {
      this.#runtime.defer(() => resolve(this.#failed ? results.map(unanswered) : results));
    });
  }

  close(_signal: AbortSignal): Promise<void> {
    this.#finish(new DriverError("LOST", "memory: the sender is closed; open another one"), undefined);
    return new Promise((resolve) => this.#runtime.defer(resolve));
  }

  /** The connection broke: answers on their way are lost, as on a real one. */
  fail(error: DriverError): void {
    this.#failed = true;
    this.#finish(error, error);
  }

  #finish(error: DriverError, reason: DriverError | undefined): void {
    this.#finished ??= error;
    this.#resolveClosed(reason);
  }

  #store(items: readonly SendItem[], signal: AbortSignal): SendResult[] {
    if (this.#finished !== undefined) return items.map(() => notStored(this.#finished));
    if (signal.aborted) {
      const error = new DriverError("ABORTED", "memory: the send was aborted; nothing was stored", {
        cause: signal.reason,
      });
      return items.map(() => notStored(error));
    }
    const failedKeys = new Set<string>();
    return items.map((item) => this.#storeOne(item, failedKeys));
  }

  /** n.b. once a record of a key was refused, later ones of it are too: stored, they would overtake its next try. */
  #storeOne(item: SendItem, failedKeys: Set<string>): SendResult {
    const { to, record, notBefore, from } = item;
    if (failedKeys.size > 0 && failedKeys.has(keyName(record.key))) {
      return notStored(
        new DriverError("REFUSED", "memory: an earlier record of this key was refused; send it again first"),
      );
    }
    const refusal = this.#engine.refusal(to) ?? refuseByLimits(item, this.#limits, this.#runtime.wallMs());
    if (refusal !== undefined) {
      if (record.key !== null) failedKeys.add(keyName(record.key));
      return refusal;
    }
    this.#engine.store(to, toStored(record, from), notBefore);
    return { outcome: "stored" };
  }
}

/** The same for text and for its bytes: they are one key, and share a shard. */
function keyName(key: Key): string {
  return key === null ? "none" : Buffer.from(keyBytes(key)).toString("hex");
}

function notStored(error: DriverError | undefined): SendResult {
  return {
    outcome: "not-stored",
    error: error ?? new DriverError("LOST", "memory: the connection is gone; open another one"),
  };
}

function unanswered(result: SendResult): SendResult {
  if (result.outcome !== "stored") return result;
  const error = new DriverError(
    "UNAVAILABLE",
    "memory: the connection broke before the answer; it may be stored or not",
  );
  return { outcome: "unknown", error };
}
