import { DriverError, type Sender, type SendItem, type SendResult } from "@sluice/core/driver";
import type { Link } from "../client.ts";
import { translate } from "../errors.ts";
import { settled, unlessAborted } from "../waiting.ts";
import type { PubsubSettings } from "./options.ts";
import { toMessage } from "./record.ts";
import { channelOf } from "./topology.ts";

const who = "redis-pubsub";

/** Publishes and has the server's answer; `stored` means that somebody was, or may have been, connected, not that he handled it. */
export class PubsubSender implements Sender {
  readonly closed: Promise<DriverError | undefined>;
  readonly #settled = settled<DriverError | undefined>();
  readonly #link: Link;
  readonly #settings: PubsubSettings;
  readonly #source: string;
  readonly #calls = new Set<Promise<unknown>>();
  #closing = false;

  constructor(link: Link, settings: PubsubSettings, source: string) {
    this.#link = link;
    this.#settings = settings;
    this.#source = source;
    this.closed = this.#settled.promise;
    void link.closed.then((reason) => this.#settled.resolve(this.#closing ? undefined : reason));
  }

  async send(items: readonly SendItem[], signal: AbortSignal): Promise<readonly SendResult[]> {
    // Written one behind the other, answered together.
    const call = Promise.all(items.map((item) => this.#sendOne(item, signal)));
    this.#calls.add(call);
    const results = await call;
    this.#calls.delete(call);
    return results;
  }

  async close(signal: AbortSignal): Promise<void> {
    this.#closing = true;
    await unlessAborted(Promise.allSettled(this.#calls), signal);
    this.#settled.resolve(undefined);
  }

  async #sendOne({ to, record, notBefore }: SendItem, signal: AbortSignal): Promise<SendResult> {
    if (signal.aborted || this.#closing || !this.#link.alive) return notStored(this.#gone(signal));
    if (to.group !== undefined || notBefore !== undefined) {
      const what = to.group === undefined ? "delays" : "groups";
      return notStored(new DriverError("UNSUPPORTED", `${who}: channels have no ${what}; use redis() instead`));
    }
    const { prefix, sharded, clustered, format } = this.#settings;
    const doing = `cannot publish to "${to.topic}"`;
    try {
      const channel = channelOf(prefix, to.topic);
      const message = toMessage(record, { format, source: this.#source, topic: to.topic });
      const command = sharded ? "spublish" : "publish";
      const readers = Number(
        await this.#link.ask(doing, (client) => client.call(command, [channel, message]), { signal }),
      );
      // n.b. PUBLISH reaches all nodes of a cluster, and counts the listeners of one: none there is no proof.
      if (readers > 0 || (clustered && !sharded)) return { outcome: "stored" };
      return { outcome: "unroutable", error: nobody(to.topic) };
    } catch (error) {
      const failure = translate(error, doing, who);
      const refused = failure.code === "INVALID_MESSAGE" || failure.code === "CONFIG" || isReply(failure.cause);
      if (refused) return notStored(failure);
      // n.b. sent again it may arrive twice; not sent again it may be lost. Core decides by the code.
      return { outcome: "unknown", error: new DriverError("UNAVAILABLE", failure.message, { cause: failure }) };
    }
  }

  #gone(signal: AbortSignal): DriverError {
    if (this.#closing) return new DriverError("LOST", `${who}: the sender is closed; open another`);
    if (!signal.aborted) return this.#link.reason;
    return new DriverError("ABORTED", `${who}: the send was aborted; nothing was sent`, { retryable: true });
  }
}

function nobody(topic: string): DriverError {
  return new DriverError(
    "UNROUTABLE",
    `${who}: nobody listens to topic "${topic}"; subscribe first, or allow it with unrouted: 'allow'`,
  );
}

function isReply(cause: unknown): boolean {
  return cause instanceof Error && cause.name === "ReplyError";
}

function notStored(error: DriverError): SendResult {
  return { outcome: "not-stored", error };
}
