import { type DriverError, type Runtime, sleep } from "@sluice/core/driver";
import type { Link } from "./client.ts";
import { type Entry, streamsOf } from "./replies.ts";
import type { Together } from "./slots.ts";

/** What a receiver needs of whoever waits for new entries. */
export interface Watcher {
  readonly closed: Promise<DriverError | undefined>;
  read(
    doing: string,
    command: readonly string[],
    streams: readonly string[],
    ids: readonly string[],
    ms: number,
  ): Promise<ReadonlyMap<string, readonly Entry[]> | undefined>;
  interrupt(): void;
  close(): void;
}

const firstMs = 5;
const slowestMs = 100;
const longestMs = 5_000;

/**
 * Looks again and again, where nobody can block: streams of several slots of a cluster cannot be in one command, and a connection for
 * each would be too many.
 */
export class Poller implements Watcher {
  readonly closed: Promise<DriverError | undefined>;
  readonly #commands: Link;
  readonly #runtime: Runtime;
  readonly #together: Together;
  #waiting = new AbortController();

  constructor(commands: Link, runtime: Runtime, together: Together) {
    this.#commands = commands;
    this.#runtime = runtime;
    this.#together = together;
    this.closed = commands.closed;
  }

  async read(
    doing: string,
    command: readonly string[],
    streams: readonly string[],
    ids: readonly string[],
    ms: number,
  ): Promise<ReadonlyMap<string, readonly Entry[]> | undefined> {
    const parts = this.#together(streams.map((stream, index) => ({ stream, id: ids[index] ?? "" })));
    const untilMs = this.#runtime.monotonicMs() + Math.min(ms, longestMs);
    this.#waiting = new AbortController();
    const { signal } = this.#waiting;
    for (let waitMs = firstMs; ; waitMs = Math.min(slowestMs, waitMs * 2)) {
      const found = new Map<string, readonly Entry[]>();
      await Promise.all(
        parts.map(async (part) => {
          const [name = "xread", ...words] = command;
          const rest = [...part.map(({ stream }) => stream), ...part.map(({ id }) => id)];
          const answer = await this.#commands.ask(doing, (client) =>
            client.callBuffer(name, [...words, "STREAMS", ...rest]),
          );
          for (const [stream, entries] of streamsOf(answer) ?? []) found.set(stream, entries);
        }),
      );
      if (found.size > 0) return found;
      if (signal.aborted || this.#runtime.monotonicMs() + waitMs > untilMs) return undefined;
      await sleep(this.#runtime, waitMs, signal);
      if (signal.aborted) return undefined;
    }
  }

  interrupt(): void {
    this.#waiting.abort();
  }

  close(): void {
    this.#waiting.abort();
  }
}
