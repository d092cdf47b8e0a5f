import { grpc } from "google-gax";
import { DriverError, type Runtime } from "@sluice/core/driver";
import { status, statusOf, translate } from "./errors.ts";
import { type Method, methods } from "./methods.ts";

/** Where the API is, and who we are there. */
export interface Endpoint {
  readonly address: string;
  readonly credentials: grpc.ChannelCredentials;
  readonly userAgent: string;
  /** The same for HTTP/2; `undefined`: the credentials are gRPC's own, so that only it can connect. */
  readonly origin: string | undefined;
  /** The headers that say who we are. */
  authorization(): Promise<Readonly<Record<string, string>>>;
}

export interface CallOptions {
  /** First words of the error: `cannot pull from "a~b"`. */
  readonly doing: string;
  readonly signal?: AbortSignal | undefined;
  /** @default 15 s */
  readonly ms?: number;
}

export interface ChannelParts {
  readonly runtime: Runtime;
  readonly endpoint: Endpoint;
  readonly project: string;
  readonly heartbeatMs: number;
}

const answerMs = 15_000;

const channelOptions: grpc.ChannelOptions = {
  // n.b. otherwise all channels of the process share one socket, and the 101st request waits.
  "grpc.use_local_subchannel_pool": 1,
  "grpc.max_receive_message_length": -1,
  "grpc.max_send_message_length": -1,
  // Exactly-once answers carry an entry per message.
  "grpc.max_metadata_size": 4 * 1024 * 1024,
  "grpc.initial_reconnect_backoff_ms": 100,
  "grpc.max_reconnect_backoff_ms": 5_000,
  "grpc.enable_retries": 0,
  // An idle channel would close its socket and say nothing about the broker.
  "grpc.client_idle_timeout_ms": 2_147_483_647,
};

/**
 * The socket for requests. The library's own retries are not in the way, every call ends with its signal, and a peer that is silently gone is
 * noticed: TCP alone takes a quarter of an hour, and HTTP/2 pings as often as we need them make the service hang up.
 */
export class Channel {
  readonly #parts: ChannelParts;
  readonly #running = new Set<() => void>();
  #client: grpc.Client;
  #cancelBeat: (() => void) | undefined;
  #closed = false;

  constructor(parts: ChannelParts) {
    this.#parts = parts;
    this.#client = this.#open();
    this.#scheduleBeat();
  }

  /** One request, one answer. @throws DriverError */
  call<Request, Response>(
    method: Method<Request, Response>,
    request: Request,
    { doing, signal, ms = answerMs }: CallOptions,
  ): Promise<Response> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted || this.#closed) return reject(aborted(doing, signal));
      const metadata = new grpc.Metadata();
      metadata.set("x-goog-request-params", encodeURI(method.about(request)));
      const done = () => {
        cancelTimer();
        this.#running.delete(hangUp);
        signal?.removeEventListener("abort", abort);
      };
      const end = (error: DriverError) => {
        done();
        reject(error);
        call.cancel();
      };
      const abort = () => end(aborted(doing, signal));
      const hangUp = () => end(new DriverError("UNAVAILABLE", `google-pubsub: ${doing}: the connection was lost`));
      const late = () => end(new DriverError("UNAVAILABLE", `google-pubsub: ${doing}: no answer within ${ms} ms`));
      const cancelTimer = this.#parts.runtime.timer(ms, late);
      this.#running.add(hangUp);
      signal?.addEventListener("abort", abort, { once: true });
      const call = this.#client.makeUnaryRequest(
        method.path,
        method.encode,
        method.decode,
        request,
        metadata,
        {},
        (error, response) => {
          done();
          if (error || response === undefined) reject(translate(error, doing));
          else resolve(response);
        },
      );
    });
  }

  /** Resolves when the broker answered; also when it answered that this is not ours to ask. @throws DriverError */
  async ping(options: Partial<CallOptions> = {}): Promise<void> {
    const topic = `projects/${this.#parts.project}/topics/sluice~~ping`;
    try {
      await this.call(methods.getTopic, { topic }, { doing: "cannot reach the broker", ...options });
    } catch (error) {
      const code = statusOf(error);
      if (code !== status.notFound && code !== status.permissionDenied) throw error;
    }
  }

  close(): void {
    this.#closed = true;
    this.#cancelBeat?.();
    this.#hangUp();
  }

  #open(): grpc.Client {
    const { address, credentials, userAgent } = this.#parts.endpoint;
    return new grpc.Client(address, credentials, { ...channelOptions, "grpc.primary_user_agent": userAgent });
  }

  #hangUp(): void {
    for (const end of this.#running) end();
    this.#client.close();
  }

  #scheduleBeat(): void {
    const { runtime, heartbeatMs } = this.#parts;
    this.#cancelBeat = runtime.timer(heartbeatMs, () => void this.#beat(), { background: true });
  }

  async #beat(): Promise<void> {
    try {
      await this.ping({ ms: this.#parts.heartbeatMs });
    } catch (error) {
      // One that refuses is reconnected by gRPC. One that is silent is not.
      if (statusOf(error) === undefined && !this.#closed) {
        this.#hangUp();
        this.#client = this.#open();
      }
    }
    if (!this.#closed) this.#scheduleBeat();
  }
}

function aborted(doing: string, signal: AbortSignal | undefined): DriverError {
  const what = signal?.aborted ? "the caller's signal aborted" : "the connection is closed";
  return new DriverError("ABORTED", `google-pubsub: ${doing}: ${what}`, { cause: signal?.reason });
}
