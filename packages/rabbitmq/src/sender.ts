import type { ConfirmChannel, Message } from "amqplib";
import { DriverError, type Runtime, type SendItem, type Sender, type SendResult } from "@sluice/core/driver";
import type { OpenChannel } from "./channel.ts";
import { translate } from "./errors.ts";
import type { Link } from "./link.ts";
import { type NativeRecord, toNative } from "./record.ts";
import type { NoRoute, Route, Routes } from "./routes.ts";
import { settled } from "./waiting.ts";

export interface SenderParts {
  readonly channel: OpenChannel<ConfirmChannel>;
  readonly link: Link;
  readonly routes: Routes;
  readonly runtime: Runtime;
  readonly longestHeaders: number;
}

/** One record on the wire, until its confirm. */
interface Publication {
  /** The broker sent it back: nobody keeps it. Comes before the confirm. */
  returned: boolean;
  /** Its call gave up on it. */
  abandoned: boolean;
  readonly done: Promise<void>;
}

/** Calls that gave up leave confirms that may come; more than this means that they will not. */
const mostAbandoned = 4_096;

/** Sends on one confirm channel, each message with a callback of its own. */
export class RabbitSender implements Sender {
  readonly closed: Promise<DriverError | undefined>;
  readonly #parts: SenderParts;
  readonly #settled = settled<DriverError | undefined>();
  /** By exchange, routing key and id: what a returned message says about itself. One of each at a time. */
  readonly #inFlight = new Map<string, Publication>();
  readonly #waiting = new Set<() => void>();
  readonly #unwatch: () => void;
  #full = false;
  #abandoned = 0;
  #closing: Promise<void> | undefined;

  constructor(parts: SenderParts) {
    this.#parts = parts;
    this.closed = this.#settled.promise;
    const { channel } = parts;
    channel.native.on("return", (message) => this.#returned(message));
    channel.native.on("drain", () => {
      this.#full = false;
      this.#wake();
    });
    this.#unwatch = parts.link.watch(() => this.#wake());
    channel.onLost((reason) => this.#finish(reason));
  }

  async send(items: readonly SendItem[], signal: AbortSignal): Promise<readonly SendResult[]> {
    const call = new Call(items.length);
    const aborted = () => call.abort(signal.reason);
    signal.addEventListener("abort", aborted, { once: true });
    for (const [index, item] of items.entries()) {
      const refusal = await this.#one(item, signal, call, index);
      if (refusal) call.settle(index, refusal);
    }
    if (signal.aborted) aborted();
    const results = await call.results;
    signal.removeEventListener("abort", aborted);
    return results;
  }

  close(signal: AbortSignal): Promise<void> {
    this.#closing ??= this.#close(signal);
    return this.#closing;
  }

  /** Resolves to why it was not published, or to nothing when its confirm will settle it. */
  async #one(item: SendItem, signal: AbortSignal, call: Call, index: number): Promise<SendResult | undefined> {
    const found = this.#parts.routes.find(item);
    const route = found instanceof Promise ? await unlessAborted(found, signal) : found;
    if (!route) return notStored(this.#late(signal));
    if ("error" in route) return route;
    let native: NativeRecord;
    try {
      native = this.#native(item, route);
    } catch (error) {
      return notStored(translate(error, `cannot send to topic "${item.to.topic}"`));
    }
    const label = `${route.exchange}\0${route.key}\0${item.record.id}`;
    while (!this.#ready(label)) {
      if (signal.aborted || !this.#parts.channel.alive || this.#closing) break;
      await this.#change(signal, this.#inFlight.get(label)?.done);
    }
    if (!this.#parts.channel.alive || this.#closing) return notStored(this.#gone());
    if (signal.aborted) return notStored(this.#late(signal));
    return this.#publish(route, native, label, call, index);
  }

  #native({ record, from }: SendItem, route: Route): NativeRecord {
    const { longestHeaders } = this.#parts;
    return toNative(record, {
      longestHeaders,
      ...(from === undefined ? {} : { from: from.native }),
      ...(route.target === undefined ? {} : { target: route.target }),
    });
  }

  #publish(route: Route, native: NativeRecord, label: string, call: Call, index: number): SendResult | undefined {
    const done = settled<void>();
    const publication: Publication = { returned: false, abandoned: false, done: done.promise };
    const { channel } = this.#parts;
    const confirmed = (error: unknown) => {
      this.#inFlight.delete(label);
      if (publication.abandoned) this.#abandoned--;
      call.settle(index, this.#result(error, publication, route));
      done.resolve();
    };
    try {
      this.#inFlight.set(label, publication);
      // n.b. 'false' is no refusal: it was taken, and the next one must wait for 'drain'.
      this.#full = !channel.native.publish(route.exchange, route.key, native.content, native.options, confirmed);
    } catch (error) {
      this.#inFlight.delete(label);
      return notStored(translate(error, "cannot publish"));
    }
    call.sent(index, () => this.#abandon(publication));
    return undefined;
  }

  #result(error: unknown, { returned }: Publication, route: Route): SendResult {
    if (!error) return returned ? unroutable(route) : { outcome: "stored" };
    const { channel } = this.#parts;
    if (error instanceof Error && error.message === "message nacked") {
      const text = `rabbitmq: "${route.exchange || route.key}" refused the message (queue full, or without a majority); try again later`;
      return notStored(new DriverError("REFUSED", text, { cause: error }));
    }
    // Whatever closed the channel was the fault of one message at most: the others may be sent again.
    const { message } = channel.reason;
    return { outcome: "unknown", error: new DriverError("LOST", message, { retryable: true, cause: channel.reason }) };
  }

  #abandon(publication: Publication): void {
    publication.abandoned = true;
    if (++this.#abandoned <= mostAbandoned) return;
    this.#finish(
      new DriverError("UNAVAILABLE", `rabbitmq: ${mostAbandoned} confirms are overdue; check the broker's queues`),
    );
    void this.#parts.channel.close();
  }

  #returned({ fields, properties }: Message): void {
    const id: unknown = properties.messageId;
    const publication = this.#inFlight.get(`${fields.exchange}\0${fields.routingKey}\0${String(id)}`);
    if (publication) publication.returned = true;
  }

  #ready(label: string): boolean {
    return !this.#full && this.#parts.link.blocked === undefined && !this.#inFlight.has(label);
  }

  /** Resolves at the next drain, unblock, death or abort, or when `other` is done. */
  #change(signal: AbortSignal, other: Promise<void> | undefined): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        this.#waiting.delete(wake);
        signal.removeEventListener("abort", wake);
        resolve();
      };
      this.#waiting.add(wake);
      signal.addEventListener("abort", wake, { once: true });
      void other?.then(wake);
    });
  }

  #wake(): void {
    for (const wake of this.#waiting) wake();
  }

  #late(signal: AbortSignal): DriverError {
    const { blocked } = this.#parts.link;
    if (blocked === undefined)
      return new DriverError("ABORTED", "rabbitmq: the caller's signal aborted before the message was sent", {
        cause: signal.reason,
      });
    return new DriverError(
      "UNAVAILABLE",
      `rabbitmq: the broker takes no messages now (${blocked}); free its memory or disk`,
    );
  }

  #gone(): DriverError {
    if (this.#closing) return new DriverError("LOST", "rabbitmq: the sender was closed; open another");
    return this.#parts.channel.reason;
  }

  #finish(reason: DriverError | undefined): void {
    this.#unwatch();
    this.#settled.resolve(reason);
    this.#wake();
  }

  async #close(signal: AbortSignal): Promise<void> {
    this.#wake();
    while (this.#inFlight.size > 0 && this.#parts.channel.alive && !signal.aborted) {
      const [next] = this.#inFlight.values();
      await this.#change(signal, next?.done);
    }
    // n.b. from here on amqplib ignores confirms; what is left settles as unknown when the channel is closed.
    await this.#parts.channel.close(signal);
    this.#finish(undefined);
  }
}

/** Results of one `send`, filled in any order. */
class Call {
  readonly results: Promise<readonly SendResult[]>;
  readonly #results: (SendResult | undefined)[];
  /** What to do with those on the wire when the call gives up. */
  readonly #onWire = new Map<number, () => void>();
  readonly #settled = settled<readonly SendResult[]>();
  #left: number;

  constructor(count: number) {
    this.results = this.#settled.promise;
    this.#results = Array.from({ length: count });
    this.#left = count;
    if (count === 0) this.#settled.resolve([]);
  }

  sent(index: number, abandon: () => void): void {
    if (this.#results[index] === undefined) this.#onWire.set(index, abandon);
  }

  settle(index: number, result: SendResult): void {
    this.#onWire.delete(index);
    if (this.#results[index] !== undefined) return;
    this.#results[index] = result;
    if (--this.#left === 0) this.#settled.resolve(this.#results.filter((each) => each !== undefined));
  }

  /** What is on the wire may be stored or not; what is not yet there is settled where it waits. */
  abort(cause: unknown): void {
    const error = new DriverError("UNAVAILABLE", "rabbitmq: the broker did not confirm in time", { cause });
    for (const [index, abandon] of this.#onWire) {
      abandon();
      this.settle(index, { outcome: "unknown", error });
    }
  }
}

/** `undefined` when the signal aborts first. */
function unlessAborted<T>(answer: Promise<T>, signal: AbortSignal): Promise<T | undefined> {
  return new Promise((resolve, reject) => {
    const aborted = () => resolve(undefined);
    signal.addEventListener("abort", aborted, { once: true });
    if (signal.aborted) aborted();
    answer.then(resolve, reject).finally(() => signal.removeEventListener("abort", aborted));
  });
}

function unroutable({ exchange, key }: Route): NoRoute {
  const what =
    exchange === ""
      ? `queue "${key}" does not exist`
      : `no group or broadcast keeps what is sent to exchange "${exchange}"`;
  return {
    outcome: "unroutable",
    error: new DriverError("UNROUTABLE", `rabbitmq: ${what}; subscribe first, or declare the groups`),
  };
}

function notStored(error: DriverError): SendResult {
  return { outcome: "not-stored", error };
}
