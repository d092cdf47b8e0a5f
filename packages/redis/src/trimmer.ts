import type { ConnectContext, Runtime } from "@sluice/core/driver";
import type { Link } from "./client.ts";
import type { Settings } from "./options.ts";
import { numbers } from "./replies.ts";
import { trim } from "./scripts/keep.ts";

export interface TrimmerParts {
  readonly link: Link;
  readonly runtime: Runtime;
  readonly settings: Settings;
  readonly report: ConnectContext["report"];
}

/** Deletes what every group has settled, from streams in which something was settled lately. */
export class Trimmer {
  readonly #parts: TrimmerParts;
  /** Stream → until when there may be something to delete. */
  readonly #streams = new Map<string, number>();
  readonly #everyMs: number;
  #cancel: (() => void) | undefined;
  #ended = false;

  constructor(parts: TrimmerParts) {
    this.#parts = parts;
    this.#everyMs = Math.min(10_000, Math.max(1_000, parts.settings.retentionMs / 10));
    void parts.link.closed.then(() => this.end());
  }

  settled(stream: string): void {
    const { runtime, settings } = this.#parts;
    this.#streams.set(stream, runtime.monotonicMs() + settings.retentionMs + 2 * this.#everyMs);
    this.#schedule();
  }

  end(): void {
    this.#ended = true;
    this.#cancel?.();
  }

  /** Resolves to the number of deleted entries. @throws DriverError */
  async trim(stream: string): Promise<number> {
    const { link, settings, report } = this.#parts;
    const { retentionMs, maxEntries = "", maxAgeMs = "" } = settings;
    const answer = await link.run(`cannot trim "${stream}"`, trim, [stream], [retentionMs, maxEntries, maxAgeMs]);
    const [deleted = 0, hard = 0] = numbers(answer);
    if (hard > 0) {
      const detail = `redis: ${hard} entries of "${stream}" were deleted by maxEntries or maxAgeMs, read or not`;
      report({ kind: "data-loss", count: hard, detail });
    }
    return deleted;
  }

  #schedule(): void {
    if (this.#cancel || this.#ended) return;
    const { runtime } = this.#parts;
    const ms = this.#everyMs * (0.75 + runtime.random() / 2);
    this.#cancel = runtime.timer(ms, () => void this.#run(), { background: true });
  }

  async #run(): Promise<void> {
    const nowMs = this.#parts.runtime.monotonicMs();
    const all = [...this.#streams];
    for (const [stream, untilMs] of all) if (untilMs < nowMs) this.#streams.delete(stream);
    // Trimming may fail as it likes: it is tried again, and a lost connection says so itself.
    await Promise.allSettled(all.map(([stream]) => this.trim(stream)));
    this.#cancel = undefined;
    if (this.#streams.size > 0) this.#schedule();
  }
}
