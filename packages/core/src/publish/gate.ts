import { AsyncLocalStorage } from "node:async_hooks";
import type { Runtime } from "../driver/index.ts";
import { SluiceError } from "../errors.ts";
import { Deque } from "./deque.ts";
import { withOutcome } from "./failure.ts";

/** Most publishes of one producer that wait before the queue's own bound counts them. */
const maxWaiting = 10_000;

/** A publish that cannot begin yet. */
export interface Waiting {
  /** Begins the error's text: `kafka: publishing message 7 to "orders"`. */
  readonly what: string;
  readonly deadlineMs: number;
  readonly signal: AbortSignal | undefined;
}

/** A place in the line. `go` is there once it may begin, or ended: nobody waits for it any more. */
interface Ticket {
  go: (() => void) | undefined;
}

/**
 * Publishes that wait for their schema, for their topic, or for their bytes: begun in the order of their calls, and ended at their deadline. The
 * only place of publishing with a timer per message; nobody waits here once the topic is known, and schema and codec are synchronous.
 */
export class Gate {
  readonly #runtime: Runtime;
  readonly #line = new Deque<Ticket>();

  constructor(runtime: Runtime) {
    this.#runtime = runtime;
  }

  /** Later ones have to wait as well. */
  get busy(): boolean {
    return this.#line.size > 0;
  }

  /** Calls `start` when `ready` is, and all those before have begun or ended. */
  enter<Ready, Result>(
    ready: Promise<Ready>,
    waiting: Waiting,
    start: (ready: Ready) => Promise<Result>,
  ): Promise<Result> {
    return new Promise((resolve, reject) => {
      const ticket: Ticket = { go: undefined };
      let over = false;
      const finish = (settle: () => void) => {
        if (over) return;
        over = true;
        stop();
        settle();
        ticket.go = nothing;
        this.#advance();
      };
      const stop = this.#whenOver(waiting, (error) => finish(() => reject(error)));
      this.#line.push(ticket);
      const begin = (value: Ready) => {
        try {
          resolve(start(value));
        } catch (error) {
          reject(withOutcome(error));
        }
      };
      ready.then(
        (value) => {
          // n.b. Its deadline still runs: those before it may take longer.
          // n.b. The one before it may call this: middleware must still see the context of its own caller.
          ticket.go ??= AsyncLocalStorage.bind(() => finish(() => begin(value)));
          this.#advance();
        },
        (error: unknown) => finish(() => reject(withOutcome(error))),
      );
      if (waiting.signal?.aborted) finish(() => reject(ended(waiting, "ABORTED")));
      else if (this.#line.size > maxWaiting) finish(() => reject(ended(waiting, "BACKPRESSURE")));
    });
  }

  #advance(): void {
    for (let ticket = this.#line.first(); ticket?.go; ticket = this.#line.first()) {
      this.#line.shift();
      ticket.go();
    }
  }

  #whenOver(waiting: Waiting, end: (error: SluiceError) => void): () => void {
    const { deadlineMs, signal } = waiting;
    const abort = () => end(ended(waiting, "ABORTED"));
    const leftMs = Math.max(0, deadlineMs - this.#runtime.monotonicMs());
    const cancel = this.#runtime.timer(leftMs, () => end(ended(waiting, "TIMEOUT")));
    signal?.addEventListener("abort", abort, { once: true });
    return () => {
      cancel();
      signal?.removeEventListener("abort", abort);
    };
  }
}

const reasons = {
  TIMEOUT: "reached its deadline before its topic, schema and bytes were ready",
  ABORTED: "was ended by its signal before its topic, schema and bytes were ready",
  BACKPRESSURE: `waits behind ${maxWaiting} others until the topic is ready; publish less at once`,
};

function ended({ what, signal }: Waiting, code: keyof typeof reasons): SluiceError {
  const cause = code === "ABORTED" ? { cause: signal?.reason as unknown } : {};
  return new SluiceError(code, `${what} ${reasons[code]}`, { outcome: "not-stored", ...cause });
}

const nothing = (): void => {};
