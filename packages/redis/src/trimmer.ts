import type { ConnectContext, Runtime } from "@sluice/core/driver";
import type { Link } from "./client.ts";
import type { Settings } from "./options.ts";
import { numbers } from "./replies.ts";
import { trim } from "./scripts/keep.ts";
import type { Together } from "./slots.ts";

/** Streams of one script call. */
const mostStreams = 100;

export interface TrimmerParts {
  readonly link: Link;
  readonly runtime: Runtime;
  readonly settings: Settings;
  readonly together: Together;
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

  settled(stream: string, laterMs: number = 0): void {
    const { runtime, settings } = this.#parts;
    const ms = Math.max(settings.retentionMs, laterMs) + 2 * this.#everyMs;
    this.#streams.set(stream, Math.max(this.#streams.get(stream) ?? 0, runtime.monotonicMs() + ms));
    this.#schedule();
  }

  /** Hard limits hold also where nobody reads. */
  stored(stream: string): void {
    const { maxEntries, maxAgeMs } = this.#parts.settings;
    if (maxEntries !== undefined || maxAgeMs !== undefined) this.settled(stream, maxAgeMs);
  }

  end(): void {
    this.#ended = true;
    this.#cancel?.();
  }

  /** Resolves to the number of deleted entries. @throws DriverError */
  async trim(streams: readonly string[]): Promise<number> {
    let deleted = 0;
    for (const part of this.#parts.together(streams.map((stream) => ({ stream })))) {
      for (let index = 0; index < part.length; index += mostStreams) {
        deleted += await this.#trimSome(part.slice(index, index + mostStreams).map(({ stream }) => stream));
      }
    }
    return deleted;
  }

  async #trimSome(streams: readonly string[]): Promise<number> {
    const { link, settings, report } = this.#parts;
    const { retentionMs, maxEntries = "", maxAgeMs = "" } = settings;
    const answer = await link.run("cannot trim", trim, streams, [retentionMs, maxEntries, maxAgeMs]);
    const [deleted = 0, hard = 0] = numbers(answer);
    if (hard > 0) {
      const where = streams.length === 1 ? `"${streams[0]}"` : `${streams.length} streams`;
      const detail = `redis: ${hard} entries of ${where} were deleted by maxEntries or maxAgeMs, read or not`;
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
    // It may fail as it likes: it is tried again, and a lost connection says so itself.
    await this.trim(all.map(([stream]) => stream)).catch(() => 0);
    this.#cancel = undefined;
    if (this.#streams.size > 0) this.#schedule();
  }
}
