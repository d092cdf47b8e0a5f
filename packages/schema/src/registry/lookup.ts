import { type ErrorCode, isSluiceError, type Runtime, SluiceError } from "@sluice/core";

interface LookupOptions {
  readonly runtime: Runtime;
  /** Before the second look. */
  readonly delayMs: number;
  /** Whether a registry answers, whatever it says about one schema. */
  serves(): Promise<boolean>;
}

/** They end, and then the same id is found. */
const outages: ReadonlySet<ErrorCode> = new Set(["UNAVAILABLE", "UNAUTHORIZED", "FORBIDDEN"]);
const windowMs = 60_000;
const secondLooks = 10;

/** How the schema of a message that is there is looked up: its message must not be given up, nor hold up the others, without a reason. */
export class Lookup {
  readonly #options: LookupOptions;
  #windowEndsMs = 0;
  #left = 0;

  constructor(options: LookupOptions) {
    this.#options = options;
  }

  /**
   * Asks again when the schema is not there yet.
   * @throws SluiceError `NOT_FOUND`, `INVALID_PAYLOAD` for another fault of this one schema; the error itself when it is the registry's
   */
  async run<V>(load: () => Promise<V>): Promise<V> {
    try {
      return await this.#twice(load);
    } catch (error) {
      if (!isSluiceError(error) || error.code === "NOT_FOUND" || outages.has(error.code)) throw error;
      // A proxy's page and a wrong address look like it, but then nothing is answered at all.
      if (!(await this.#options.serves())) throw error;
      throw new SluiceError("INVALID_PAYLOAD", error.message, { issues: error.issues, cause: error });
    }
  }

  /** n.b. one node of a registry knows a schema a moment before the others: its writer is that fast. */
  async #twice<V>(load: () => Promise<V>): Promise<V> {
    try {
      return await load();
    } catch (error) {
      if (!isSluiceError(error, "NOT_FOUND") || !this.#mayLookAgain()) throw error;
    }
    const { delayMs, runtime } = this.#options;
    await new Promise<void>((resolve) => void runtime.timer(delayMs, resolve));
    return load();
  }

  /** Bounded: whoever can publish can make up ids, and each second look takes its time. */
  #mayLookAgain(): boolean {
    const nowMs = this.#options.runtime.monotonicMs();
    if (nowMs >= this.#windowEndsMs) {
      this.#windowEndsMs = nowMs + windowMs;
      this.#left = secondLooks;
    }
    return this.#left-- > 0;
  }
}
