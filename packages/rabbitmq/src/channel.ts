import type { Channel, ConfirmChannel } from "amqplib";
import { DriverError, type Runtime } from "@sluice/core/driver";
import { replyCode, translate } from "./errors.ts";
import type { Link } from "./link.ts";
import { answerMs, attempt, bounded, settled } from "./waiting.ts";

/** One life of one AMQP channel. Delivery tags and confirms belong to exactly this one; a new one starts from nothing. */
export interface OpenChannel<C extends Channel = Channel> {
  readonly native: C;
  readonly alive: boolean;
  /** Why it died, or is about to. */
  readonly reason: DriverError;
  /** Resolves with the reason, or `undefined` after `close()`. */
  readonly closed: Promise<DriverError | undefined>;
  /** Runs synchronously when it dies, before anything else of ours. Not for `close()`. */
  onLost(run: (reason: DriverError) => void): void;
  /** Orderly; the broker takes back what is unsettled. Resolves also when it is dead already. */
  close(signal?: AbortSignal): Promise<void>;
}

export async function openChannel(link: Link, runtime: Runtime, doing: string): Promise<OpenChannel> {
  return open(link, runtime, doing, link.native.createChannel());
}

export async function openConfirmChannel(
  link: Link,
  runtime: Runtime,
  doing: string,
): Promise<OpenChannel<ConfirmChannel>> {
  return open(link, runtime, doing, link.native.createConfirmChannel());
}

async function open<C extends Channel>(
  link: Link,
  runtime: Runtime,
  doing: string,
  opening: Promise<C>,
): Promise<OpenChannel<C>> {
  // n.b. listeners in the same turn: a channel 'error' without one becomes an error of the whole connection.
  const wrapped = opening.then((native) => wrap(native, link, runtime, doing));
  try {
    return await bounded(wrapped, { runtime, doing });
  } catch (error) {
    // One that opens after all must not stay.
    void wrapped.then(
      (late) => late.close(),
      () => undefined,
    );
    throw translate(error, doing);
  }
}

function wrap<C extends Channel>(native: C, link: Link, runtime: Runtime, doing: string): OpenChannel<C> {
  const end = settled<DriverError | undefined>();
  const lost: ((reason: DriverError) => void)[] = [];
  let cause: Error | undefined;
  let ending = false;
  let alive = link.alive;
  // n.b. an instrumentation of amqplib makes a span of every delivery and keeps it open until the ack: not on channels of ours.
  const consume: object = Reflect.get(native, "consume");
  if (Reflect.get(consume, "__wrapped") === true) Reflect.set(native, "consume", Reflect.get(consume, "__original"));
  native.on("error", (error) => (cause ??= error));
  native.on("handler-error", (error) => (cause ??= error));
  native.on("close", () => {
    if (!alive) return;
    alive = false;
    const reason = ending ? undefined : ended(cause, doing);
    if (reason) for (const run of lost) run(reason);
    end.resolve(reason);
  });
  return {
    native,
    get alive() {
      return alive && !ending;
    },
    get reason() {
      return ended(cause, doing);
    },
    closed: end.promise,
    onLost: (run) => void lost.push(run),
    async close(signal) {
      if (!alive) return;
      if (!ending) {
        ending = true;
        native.close().catch(() => undefined);
      }
      // n.b. amqplib's own promise hangs when the connection dies meanwhile; 'close' comes always.
      await attempt(end.promise, { runtime, doing, ms: answerMs, ...(signal ? { signal } : {}) });
    },
  };
}

function ended(cause: Error | undefined, doing: string): DriverError {
  if (cause) return translate(cause, doing);
  return new DriverError("LOST", `rabbitmq: ${doing}: the connection ended`, { retryable: true });
}

/** Runs a call that may fail. Rejects with amqplib's own error, or with a DriverError when no channel could be had. */
export type Ask = <T>(doing: string, call: (channel: Channel) => Promise<T>, signal?: AbortSignal) => Promise<T>;

/** Whether it exists now. @throws DriverError when the broker cannot be asked */
export async function exists(
  ask: Ask,
  kind: "queue" | "exchange",
  name: string,
  signal?: AbortSignal,
): Promise<boolean> {
  const doing = `cannot look for ${kind} "${name}"`;
  try {
    await ask(doing, (channel) => (kind === "queue" ? channel.checkQueue(name) : channel.checkExchange(name)), signal);
    return true;
  } catch (error) {
    const code = replyCode(error);
    if (code === 404) return false;
    if (code === 405) return true; // exclusive to another connection
    throw translate(error, doing);
  }
}

/**
 * A channel for calls that may fail: a refused declare or check closes its channel and everything on it. Opened again for the
 * next call after a failure; one call at a time.
 */
export class Scratch {
  readonly #link: Link;
  readonly #runtime: Runtime;
  #channel: OpenChannel | undefined;
  #last: Promise<unknown> = Promise.resolve();

  constructor(link: Link, runtime: Runtime) {
    this.#link = link;
    this.#runtime = runtime;
  }

  readonly ask: Ask = (doing, call, signal) => {
    const answer = this.#last.then(() => this.#run(doing, call, signal));
    this.#last = answer.catch(() => undefined);
    return answer;
  };

  async close(): Promise<void> {
    await this.#last;
    await this.#channel?.close();
  }

  async #run<T>(doing: string, call: (channel: Channel) => Promise<T>, signal: AbortSignal | undefined): Promise<T> {
    if (!this.#channel?.alive) this.#channel = await openChannel(this.#link, this.#runtime, doing);
    const channel = this.#channel;
    try {
      return await bounded(call(channel.native), { runtime: this.#runtime, doing, ...(signal ? { signal } : {}) });
    } catch (error) {
      // Refused: the broker closes it, and 'close' may come a moment after the answer. Unanswered: its answers have no reader.
      this.#channel = undefined;
      void channel.close();
      throw error;
    }
  }
}
