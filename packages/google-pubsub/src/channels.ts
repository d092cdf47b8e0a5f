import type { protos } from "@google-cloud/pubsub";
import { Channel, type CallOptions, type ChannelParts } from "./channel.ts";
import type { Method } from "./methods.ts";
import { type PullStream, StreamChannel, type StreamEvents } from "./stream-channel.ts";

/** The service allows 100 streams a socket; some are left for what is ending. */
const streamsPerChannel = 90;

/** What most of this driver needs of a connection. */
export interface Calls {
  /** One request, one answer. @throws DriverError */
  call<Request, Response>(method: Method<Request, Response>, request: Request, options: CallOptions): Promise<Response>;
}

/** Sockets of one connection: one for requests, and as many as the open streams need. */
export class Channels implements Calls {
  readonly #parts: ChannelParts;
  readonly #requests: Channel;
  readonly #streaming: StreamChannel[] = [];
  #brokenMs = 0;

  constructor(parts: ChannelParts) {
    this.#parts = parts;
    this.#requests = new Channel(parts);
  }

  /** One request, one answer. @throws DriverError */
  call<Request, Response>(
    method: Method<Request, Response>,
    request: Request,
    options: CallOptions,
  ): Promise<Response> {
    return this.#requests.call(method, request, options);
  }

  /** A streaming pull on a socket that has room. */
  stream(request: protos.google.pubsub.v1.IStreamingPullRequest, events: StreamEvents): PullStream {
    let channel = this.#streaming.find(({ streams }) => streams < streamsPerChannel);
    if (!channel) this.#streaming.push((channel = new StreamChannel(this.#parts)));
    return channel.open(request, events);
  }

  /** What the broker handed out a moment ago may have gone nowhere. */
  broke(): void {
    this.#brokenMs = this.#parts.runtime.wallMs();
  }

  /** When that was last, wall milliseconds. */
  get brokenMs(): number {
    return this.#brokenMs;
  }

  ping(options: Partial<CallOptions>): Promise<void> {
    return this.#requests.ping(options);
  }

  close(): void {
    for (const channel of [this.#requests, ...this.#streaming]) channel.close();
  }
}
