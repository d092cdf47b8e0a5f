import { Channel, type CallOptions, type ChannelParts, type PullStream } from "./channel.ts";
import type { Method } from "./methods.ts";

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
  readonly #streaming: Channel[] = [];

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
  stream(subscription: string): PullStream {
    let channel = this.#streaming.find(({ streams }) => streams < streamsPerChannel);
    if (!channel) this.#streaming.push((channel = new Channel(this.#parts)));
    return channel.stream(subscription);
  }

  ping(options: Partial<CallOptions>): Promise<void> {
    return this.#requests.ping(options);
  }

  close(): void {
    for (const channel of [this.#requests, ...this.#streaming]) channel.close();
  }
}
