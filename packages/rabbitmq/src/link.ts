import { type ChannelModel, connect, credentials, type SocketOptions } from "amqplib";
import { DriverError, type Runtime } from "@sluice/core/driver";
import { translate } from "./errors.ts";
import type { Endpoint, RabbitTls, Settings } from "./options.ts";
import { bounded, settled } from "./waiting.ts";

export interface LinkOptions {
  readonly runtime: Runtime;
  readonly settings: Settings;
  /** Shown in the broker's management pages. */
  readonly name: string;
  readonly signal: AbortSignal;
  readonly ms: number;
}

/** One socket with its AMQP connection. When it dies, `closed` resolves and everything on it is gone. */
export class Link {
  readonly native: ChannelModel;
  readonly closed: Promise<DriverError | undefined>;
  readonly #runtime: Runtime;
  readonly #socket: AbortController;
  readonly #settled = settled<DriverError | undefined>();
  #cause: Error | undefined;
  #blocked: string | undefined;
  #ending = false;
  #dead = false;
  readonly #watchers = new Set<() => void>();

  private constructor(native: ChannelModel, socket: AbortController, runtime: Runtime) {
    this.native = native;
    this.closed = this.#settled.promise;
    this.#socket = socket;
    this.#runtime = runtime;
    // n.b. an 'error' without a listener ends the process.
    native.on("error", (error) => (this.#cause ??= error));
    native.on("handler-error", (error) => (this.#cause ??= error));
    native.on("blocked", (reason) => this.#block(reason));
    native.on("unblocked", () => this.#block(undefined));
    // n.b. the trigger is 'close': an operator's close and an orderly stop of the node come without an 'error'.
    native.on("close", (error) => this.#died(error));
  }

  static async open(endpoint: Endpoint, options: LinkOptions): Promise<Link> {
    const { runtime, settings, name, signal, ms } = options;
    const socket = new AbortController();
    const doing = `cannot connect to ${endpoint.hostname}:${endpoint.port} vhost "${endpoint.vhost}"`;
    const address = {
      ...endpoint,
      heartbeat: endpoint.heartbeat ?? settings.heartbeat,
      // amqplib decodes it once more.
      vhost: encodeURIComponent(endpoint.vhost),
    };
    const socketOptions: SocketOptions & { readonly signal: AbortSignal } = {
      ...tlsOptions(settings.tls),
      ...(settings.authentication === "external" ? { credentials: credentials.external() } : {}),
      noDelay: true,
      keepAlive: true,
      clientProperties: { connection_name: name },
      signal: socket.signal,
    };
    const opening = connect(address, socketOptions).then((native) => new Link(native, socket, runtime));
    try {
      return await bounded(opening, { runtime, doing, signal, ms });
    } catch (error) {
      // Also ends a handshake that is still under way: nothing else has the socket.
      socket.abort();
      throw translate(error, doing);
    }
  }

  get alive(): boolean {
    return !this.#dead;
  }

  /** The broker's reason for taking no messages from this connection now (memory or disk alarm). */
  get blocked(): string | undefined {
    return this.#blocked;
  }

  /** Called at every change of `blocked` and at the end. Returns how to stop. */
  watch(change: () => void): () => void {
    this.#watchers.add(change);
    return () => void this.#watchers.delete(change);
  }

  /** Says goodbye as long as the signal allows, then cuts the socket. */
  async close(signal: AbortSignal): Promise<void> {
    if (!this.#ending && !this.#dead) {
      this.#ending = true;
      // n.b. amqplib never answers when the socket dies between its close and the broker's.
      const goodbye = Promise.race([this.native.close(), this.closed]);
      await bounded(goodbye, { runtime: this.#runtime, doing: "cannot close", signal, ms: 2_000 }).catch(
        () => undefined,
      );
      this.destroy(undefined);
    }
    await this.closed;
  }

  /** Cuts the socket. amqplib only half-closes it, and a peer that is gone never closes the other half. */
  destroy(reason: DriverError | undefined): void {
    this.#ending = true;
    this.#socket.abort();
    this.#died(reason);
  }

  #block(reason: string | undefined): void {
    this.#blocked = reason;
    for (const watcher of this.#watchers) watcher();
  }

  #died(error: Error | undefined): void {
    if (this.#dead) return;
    this.#dead = true;
    this.#socket.abort();
    const cause = error ?? this.#cause;
    const reason = this.#ending ? undefined : (cause ?? new Error("Connection closed by the broker"));
    this.#settled.resolve(reason === undefined ? undefined : disconnected(reason));
    for (const watcher of this.#watchers) watcher();
    this.#watchers.clear();
  }
}

/** Whatever ended it, a connection that is gone can be opened again: only opening it decides what cannot. */
function disconnected(cause: Error): DriverError {
  if (cause instanceof DriverError) return cause;
  const { code, message } = translate(cause, "the connection ended");
  return new DriverError(code === "UNKNOWN" || code === "LOST" ? "UNAVAILABLE" : code, message, {
    retryable: true,
    cause,
  });
}

function tlsOptions(tls: RabbitTls): object {
  const { ca, cert, key, passphrase, servername, rejectUnauthorized = true } = tls;
  const given = { ca, cert, key, passphrase, servername };
  return {
    rejectUnauthorized,
    ...Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)),
  };
}

/** What the server said about itself, and the frame size that both sides agreed on. */
export function serverOf(link: Link): {
  readonly product: string;
  readonly version: string;
  readonly frameMax: number;
} {
  const { connection } = link.native;
  const { product, version } = connection.serverProperties;
  // `frameMax` is there but not in amqplib's types; 128 KiB is what it asks for.
  const frameMax = "frameMax" in connection && typeof connection.frameMax === "number" ? connection.frameMax : 131_072;
  return { product: String(product), version: String(version), frameMax };
}
