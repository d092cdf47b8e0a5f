import type { Attributes } from "@opentelemetry/api";
import type { Backlog, Connection, GroupSource, Runtime } from "@sluice/core/driver";
import type { Observe } from "./metrics.ts";
import { quietly } from "./quiet.ts";

/** One answer of the broker may take so long. */
const patienceMs = 5_000;

interface Watched {
  readonly ask: (signal: AbortSignal) => Promise<Backlog>;
  readonly attributes: Attributes;
  readonly runtime: Runtime;
  /** Receivers that read it here. */
  readers: number;
  askedMs: number;
  /** What the broker said last; an answer that does not come leaves nothing, not something old. */
  last: Promise<Backlog> | undefined;
}

export interface BacklogsOptions {
  /** Milliseconds for which an answer is good; 0 = the broker is never asked. */
  readonly everyMs: number;
  /** Most groups that are asked about. */
  readonly most: number;
}

/** What waits for the groups that are read here. The broker is asked when somebody collects, and not more often than `everyMs`. */
export class Backlogs {
  readonly #options: BacklogsOptions;
  readonly #watched = new Map<string, Watched>();

  constructor(options: BacklogsOptions) {
    this.#options = options;
  }

  /** Until the answer is called. */
  watch(connection: Connection, source: GroupSource, attributes: Attributes, runtime: Runtime): () => void {
    if (this.#options.everyMs === 0) return () => undefined;
    const key = `${source.topic} ${source.group}`;
    const known = this.#watched.get(key);
    const watched: Watched = {
      // n.b. the newest connection: the one before may be gone.
      ask: (signal) => quietly(async () => connection.backlog(source, signal)),
      attributes,
      runtime,
      readers: (known?.readers ?? 0) + 1,
      askedMs: known?.askedMs ?? Number.NEGATIVE_INFINITY,
      last: known?.last,
    };
    if (known || this.#watched.size < this.#options.most) this.#watched.set(key, watched);
    let open = true;
    return () => {
      const now = this.#watched.get(key);
      if (!open || !now) return;
      open = false;
      if (--now.readers === 0) this.#watched.delete(key);
    };
  }

  readonly observe: Observe = async (result, { backlog, age }) => {
    const all = [...this.#watched.values()];
    await Promise.all(
      all.map(async (watched) => {
        const { ready, inFlight, delayed, oldestMs } = await this.#ask(watched);
        for (const [state, count] of Object.entries({ ready, in_flight: inFlight, delayed })) {
          if (count === undefined) continue;
          result.observe(backlog, count, { ...watched.attributes, "sluice.backlog.state": state });
        }
        if (oldestMs !== undefined) result.observe(age, oldestMs / 1000, watched.attributes);
      }),
    );
  };

  /** What the broker does not tell gets no data point. */
  async #ask(watched: Watched): Promise<Backlog> {
    const nowMs = watched.runtime.monotonicMs();
    if (nowMs - watched.askedMs >= this.#options.everyMs) {
      watched.askedMs = nowMs;
      const limit = new AbortController();
      const cancel = watched.runtime.timer(patienceMs, () => limit.abort(), { background: true });
      watched.last = watched
        .ask(limit.signal)
        .catch(() => ({}))
        .finally(cancel);
    }
    return watched.last ?? {};
  }
}
