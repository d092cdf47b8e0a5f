import type { ConfirmChannel, Message } from "amqplib";
import { DriverError, type SendItem, type Sender, type SendResult } from "@sluice/core/driver";
import type { OpenChannel } from "./channel.ts";
import { translate } from "./errors.ts";
import type { Link } from "./link.ts";
import { type NativeRecord, toNative } from "./record.ts";
import type { NoRoute, Route, Routes } from "./routes.ts";
import { type Publication, SendCall } from "./send-call.ts";
import { settled } from "./waiting.ts";

export interface SenderParts {
  readonly channel: OpenChannel<ConfirmChannel>;
  readonly link: Pick<Link, "blocked" | "watch">;
  readonly routes: Pick<Routes, "find">;
  readonly longestHeaders: number;
}

/** `undefined`: it is on the wire. */
type Begun = SendResult | undefined;

/** Calls that gave up leave confirms that may come; more than this means that they will not. */
const mostAbandoned = 4_096;

/** Sends on one confirm channel, each message with a callback of its own. */
export class RabbitSender implements Sender {
  readonly closed: Promise<DriverError | undefined>;
  readonly #parts: SenderParts;
  readonly #settled = settled<DriverError | undefined>();
  /** By id, which is what a returned message says about itself: one of each at a time. */
  readonly #inFlight = new Map<string, Publication>();
  /** Exchanges that took something on this channel. */
  readonly #taken = new Set<string>();
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
    const call = new SendCall(items.length);
    const aborted = () => call.abort(signal.reason, (publication) => this.#abandon(publication));
    signal.addEventListener("abort", aborted, { once: true });
    for (const [index, item] of items.entries()) {
      const begun = this.#begin(item, signal, call, index);
      const refusal = begun instanceof Promise ? await begun : begun;
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

  /** Why it was not published, or nothing when its confirm will settle it. A promise only where something must be waited for. */
  #begin(item: SendItem, signal: AbortSignal, call: SendCall, index: number): Begun | Promise<Begun> {
    const found = this.#parts.routes.find(item);
    if (found instanceof Promise) {
      return unlessAborted(found, signal).then((route) =>
        route ? this.#route(item, route, signal, call, index) : notStored(this.#late(signal)),
      );
    }
    return this.#route(item, found, signal, call, index);
  }

  #route(
    item: SendItem,
    route: Route | NoRoute,
    signal: AbortSignal,
    call: SendCall,
    index: number,
  ): Begun | Promise<Begun> {
    if ("error" in route) return route;
    let native: NativeRecord;
    try {
      native = this.#native(item, route);
    } catch (error) {
      return notStored(translate(error, `cannot send to topic "${item.to.topic}"`));
    }
    const { id } = item.record;
    const publish = () => this.#stopped(signal) ?? this.#publish(route, native, id, call, index);
    return this.#ready(id) ? publish() : this.#untilReady(id, signal).then(publish);
  }

  async #untilReady(id: string, signal: AbortSignal): Promise<void> {
    while (!this.#ready(id) && !this.#stopped(signal)) await this.#change(signal);
  }

  /** Why nothing can be published any more. */
  #stopped(signal: AbortSignal): SendResult | undefined {
    if (!this.#parts.channel.alive || this.#closing) return notStored(this.#gone());
    return signal.aborted ? notStored(this.#late(signal)) : undefined;
  }

  #native({ record, from }: SendItem, route: Route): NativeRecord {
    const { longestHeaders } = this.#parts;
    return toNative(record, {
      longestHeaders,
      ...(from === undefined ? {} : { from: from.native }),
      ...(route.target === undefined ? {} : { target: route.target }),
    });
  }

  #publish(route: Route, native: NativeRecord, id: string, call: SendCall, index: number): SendResult | undefined {
    const { exchange, key } = route;
    const bytes = native.content.length;
    const publication: Publication = { call, index, exchange, key, bytes, returned: false, abandoned: false };
    const { native: channel } = this.#parts.channel;
    const confirmed = (error: unknown) => this.#confirmed(id, publication, error);
    try {
      this.#inFlight.set(id, publication);
      // n.b. 'false' is no refusal: it was taken, and the next one must wait for 'drain'.
      this.#full = !channel.publish(exchange, key, native.content, native.options, confirmed);
    } catch (error) {
      this.#inFlight.delete(id);
      return notStored(translate(error, "cannot publish"));
    }
    call.sent(publication);
    return undefined;
  }

  #confirmed(id: string, publication: Publication, error: unknown): void {
    this.#inFlight.delete(id);
    if (publication.abandoned) this.#abandoned--;
    if (!error) this.#taken.add(publication.exchange);
    publication.call.settle(publication.index, error ? this.#failure(error, publication) : success(publication));
    // Somebody may wait to send the same id again, or for the last confirm.
    if (this.#waiting.size > 0) this.#wake();
  }

  #failure(error: unknown, publication: Publication): SendResult {
    const { channel } = this.#parts;
    const { exchange, key } = publication;
    if (error instanceof Error && error.message === "message nacked") {
      const text = `rabbitmq: "${exchange || key}" refused the message (queue full, or without a majority); try again later`;
      return notStored(new DriverError("REFUSED", text, { cause: error }));
    }
    const { reason } = channel;
    if (isToBlame(publication, reason)) {
      // A right may have been taken away between this one and a later one.
      const earlier = reason.code === "FORBIDDEN" && this.#taken.has(exchange);
      return { outcome: earlier ? "unknown" : "not-stored", error: reason };
    }
    // What closed the channel was the fault of another one: these may be sent again.
    return { outcome: "unknown", error: new DriverError("LOST", reason.message, { retryable: true, cause: reason }) };
  }

  #abandon(publication: Publication): void {
    publication.abandoned = true;
    if (++this.#abandoned <= mostAbandoned) return;
    this.#finish(
      new DriverError("UNAVAILABLE", `rabbitmq: ${mostAbandoned} confirms are overdue; check the broker's queues`),
    );
    void this.#parts.channel.close();
  }

  #returned({ properties }: Message): void {
    const publication = this.#inFlight.get(String(properties.messageId));
    if (publication) publication.returned = true;
  }

  #ready(id: string): boolean {
    return !this.#full && this.#parts.link.blocked === undefined && !this.#inFlight.has(id);
  }

  /** Resolves at the next confirm, drain, unblock, death or abort. */
  #change(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        this.#waiting.delete(wake);
        signal.removeEventListener("abort", wake);
        resolve();
      };
      this.#waiting.add(wake);
      signal.addEventListener("abort", wake, { once: true });
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
    while (this.#inFlight.size > 0 && this.#parts.channel.alive && !signal.aborted) await this.#change(signal);
    // n.b. from here on amqplib ignores confirms; what is left settles as unknown when the channel is closed.
    await this.#parts.channel.close(signal);
    this.#finish(undefined);
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

/** n.b. the broker closes the channel for a message that it refuses, and says what was wrong, not with which one. */
function isToBlame({ exchange, bytes }: Publication, { code, message }: DriverError): boolean {
  if (code === "TOO_LARGE") return message.includes(`message size ${bytes} `);
  return code === "FORBIDDEN" && message.includes(`exchange '${exchange || "amq.default"}'`);
}

const stored: SendResult = { outcome: "stored" };

function success({ returned, exchange, key }: Publication): SendResult {
  if (!returned) return stored;
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
