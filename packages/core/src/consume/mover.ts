import { Backoff } from "../backoff.ts";
import { type Destination, DriverError, type Headers, type Runtime, type SendItem, wire } from "../driver/index.ts";
import { fromDriver } from "../driver-failure.ts";
import { withoutDetails } from "../dead-letter-headers.ts";
import type { ErrorCode, SluiceError } from "../errors.ts";
import { count, type Work } from "./work.ts";

/** Codes of a copy that no waiting makes smaller: our own headers brought it over a limit. */
const tooMuch = new Set<ErrorCode | undefined>(["TOO_LARGE", "INVALID_MESSAGE"]);

/** Hands a copy to the bus's send queue; `then` gets `undefined` once the broker confirmed it. The signal ends the wait. */
export type SendCopy = (item: SendItem, then: (error: SluiceError | undefined) => void, signal?: AbortSignal) => void;

export interface MoverOptions {
  readonly runtime: Runtime;
  readonly send: SendCopy;
  /** The broker can store the copy and accept the original in one step. */
  readonly atomic: boolean;
  /** Everything is committed: a step of which nobody knows what came of it is over, and the message comes again. */
  readonly transactional: boolean;
  /** A copy could not be stored: the message is held and tried again. Called at the first failure, and after success. */
  blocked(on: boolean, error: SluiceError | undefined): void;
}

/**
 * Moves messages to their group's own entry or dead letters: send the copy, wait for the confirmation, then accept the original.
 * A crash in between duplicates, never loses. A copy that cannot be stored is tried again with back-off for as long as the
 * message is ours: never lost, never dropped.
 */
export class Mover {
  readonly #options: MoverOptions;

  constructor(options: MoverOptions) {
    this.#options = options;
  }

  /** `then` is called once: with `accepted` when the original is settled too, `stored` when it is still to accept, or `lost`. */
  move(
    work: Work,
    to: Destination,
    headers: Headers,
    notBefore: number | undefined,
    then: (state: "accepted" | "stored" | "lost") => void,
  ): void {
    let item = this.#copy(work, to, headers, notBefore);
    const backoff = new Backoff(this.#options.runtime, 200, 30_000);
    let { atomic } = this.#options;
    let blocked = false;
    let ended = false;
    let cancel: (() => void) | undefined;
    const finish = (state: "accepted" | "stored" | "lost") => {
      if (ended) return;
      ended = true;
      cancel?.();
      work.cancelWait = undefined;
      if (blocked) this.#options.blocked(false, undefined);
      then(state);
    };
    const attempt = () => {
      this.#store(work, item, atomic, (state, error) => {
        if (state !== "failed" || ended) return finish(state === "failed" ? "lost" : state);
        // One step that failed may not say why: in two steps the sender does.
        atomic = this.#options.transactional;
        if (tooMuch.has(error?.code)) item = { ...item, record: { ...item.record, headers: withoutDetails(headers) } };
        if (!blocked) this.#options.blocked(true, error);
        blocked = true;
        cancel = this.#options.runtime.timer(backoff.next(), attempt);
      });
    };
    work.cancelWait = () => finish("lost");
    if (work.lost) finish("lost");
    else attempt();
  }

  #copy(work: Work, to: Destination, headers: Headers, notBefore: number | undefined): SendItem {
    const { delivery } = work;
    const hop = count(delivery.headers[wire.hop]) + 1;
    headers[wire.hop] = String(hop);
    return {
      to,
      from: delivery,
      ...(notBefore === undefined ? {} : { notBefore }),
      record: {
        id: work.id,
        dedupId: `${work.id}/${hop}`,
        key: delivery.key,
        body: delivery.body,
        headers,
        time: delivery.time ?? this.#options.runtime.wallMs(),
      },
    };
  }

  #store(
    work: Work,
    item: SendItem,
    atomic: boolean,
    then: (state: "accepted" | "stored" | "lost" | "failed", error?: SluiceError) => void,
  ): void {
    const { receiver } = work;
    if (!atomic || !receiver.commit) {
      return this.#options.send(item, (error) => then(error ? "failed" : "stored", error));
    }
    receiver.commit([{ accept: [work.delivery], send: [item] }]).then(
      ([result]) => {
        if (result === "durable") then("accepted");
        else if (result === "lost" || (result === "unknown" && this.#options.transactional)) then("lost");
        else then("failed", result instanceof DriverError ? fromDriver(result) : undefined);
      },
      () => then("failed"),
    );
  }
}
