import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  constants,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
} from "node:http2";
import type { protos } from "@google-cloud/pubsub";
import type { ChannelParts } from "./channel.ts";
import { status, statusOf } from "./errors.ts";
import { Deframer, frame } from "./frames.ts";
import { type Method, methods } from "./methods.ts";

type Request = protos.google.pubsub.v1.IStreamingPullRequest;
type Response = protos.google.pubsub.v1.StreamingPullResponse;

export interface StreamEvents {
  message(response: Response): void;
  /** Once, always: with a gRPC status. `lost`: not the service said so, the connection broke. */
  ended(code: number, details: string, lost: boolean): void;
}

export interface PullStream {
  /** The last thing we say: the service sends what it has begun to send, and ends. */
  end(): void;
  cancel(): void;
}

const windowBytes = 4 * 1024 * 1024;

const sessionOptions = {
  settings: { initialWindowSize: 1024 * 1024, enablePush: false },
  // n.b. a session above its memory (10 MB by default) refuses streams.
  maxSessionMemory: 1_024,
} as const;

/**
 * One socket for streams. n.b. not through @grpc/grpc-js: there a stream takes 20 KiB of memory, here two; and a receiver of a thousand
 * topics has two thousand of them.
 */
export class StreamChannel {
  readonly #parts: ChannelParts;
  #session: ClientHttp2Session | undefined;
  #streams = 0;
  #cancelBeat: (() => void) | undefined;
  #closed = false;

  constructor(parts: ChannelParts) {
    this.#parts = parts;
    this.#scheduleBeat();
  }

  /** Streams that are open or being opened. */
  get streams(): number {
    return this.#streams;
  }

  open(request: Request, events: StreamEvents): PullStream {
    this.#streams++;
    const { path, encode, decode } = methods.streamingPull;
    const about = `subscription=${request.subscription ?? ""}`;
    return this.#start(path, about, encode(request), {
      message: (bytes) => events.message(decode(bytes)),
      ended: (code, details, lost) => {
        this.#streams--;
        events.ended(code, details, lost);
      },
    });
  }

  close(): void {
    this.#closed = true;
    this.#cancelBeat?.();
    this.#session?.destroy();
  }

  #start(path: string, about: string, first: Buffer, events: CallEvents): PullStream {
    const call = new Call(events);
    const begin = async () => {
      const authorization = await this.#parts.endpoint.authorization();
      if (this.#closed || call.over) return call.finish(status.cancelled, "cancelled");
      const headers = {
        ":method": "POST",
        ":path": path,
        "content-type": "application/grpc",
        te: "trailers",
        "user-agent": this.#parts.endpoint.userAgent,
        "x-goog-request-params": encodeURI(about),
        ...authorization,
      };
      call.attach(this.#connected().request(headers satisfies OutgoingHttpHeaders, { endStream: false }), first);
    };
    begin().catch((error: unknown) => call.finish(statusOf(error) ?? status.unavailable, String(error)));
    return call;
  }

  #connected(): ClientHttp2Session {
    const known = this.#session;
    if (known && !known.closed && !known.destroyed) return known;
    const session = connect(this.#parts.endpoint.origin ?? "", sessionOptions);
    session.once("connect", () => session.setLocalWindowSize(windowBytes));
    // n.b. without a listener an error would end the process; every stream is told by itself.
    session.on("error", () => {});
    // A server that goes away lets old streams end; new ones need another session.
    session.once("goaway", () => {
      if (this.#session === session) this.#session = undefined;
    });
    this.#session = session;
    return session;
  }

  #scheduleBeat(): void {
    const { runtime, heartbeatMs } = this.#parts;
    this.#cancelBeat = runtime.timer(heartbeatMs, () => this.#beat(), { background: true });
  }

  /** n.b. a request, and no ping of HTTP/2: for pings as often as we need them servers hang up. */
  #beat(): void {
    const { runtime, heartbeatMs, project } = this.#parts;
    const session = this.#session;
    if (this.#streams > 0 && session) {
      const { path, encode, about }: Method<protos.google.pubsub.v1.IGetTopicRequest, unknown> = methods.getTopic;
      const request = { topic: `projects/${project}/topics/sluice~~ping` };
      const cancel = runtime.timer(heartbeatMs, () => session.destroy(), { background: true });
      const probe = this.#start(path, about(request), encode(request), { message: () => {}, ended: cancel });
      probe.end();
    } else if (session && this.#streams === 0) {
      // Nobody needs the socket any more.
      this.#session = undefined;
      session.close();
    }
    if (!this.#closed) this.#scheduleBeat();
  }
}

interface CallEvents {
  message(bytes: Buffer): void;
  ended(code: number, details: string, lost: boolean): void;
}

/** One stream of HTTP/2 as a gRPC call. */
class Call implements PullStream {
  readonly #events: CallEvents;
  readonly #deframer = new Deframer();
  #stream: ClientHttp2Stream | undefined;
  #ending = false;
  #cancelled = false;
  #finished = false;
  #code: number | undefined;
  #details = "";

  constructor(events: CallEvents) {
    this.#events = events;
  }

  get over(): boolean {
    return this.#finished || this.#cancelled;
  }

  attach(stream: ClientHttp2Stream, first: Buffer): void {
    this.#stream = stream;
    stream.on("response", (headers) => this.#read(headers));
    stream.on("trailers", (headers) => this.#read(headers));
    stream.on("data", (chunk: Buffer) => {
      for (const message of this.#deframer.push(chunk)) this.#events.message(message);
    });
    // n.b. when the service has said its last word the call is over, though our side is still open: nothing else would end it.
    stream.once("end", () => stream.close(constants.NGHTTP2_NO_ERROR));
    stream.on("error", (error: Error) => (this.#details ||= error.message));
    stream.once("close", () => {
      const broken = this.#cancelled ? status.cancelled : status.unavailable;
      this.finish(this.#code ?? broken, this.#details || "the connection was lost");
    });
    stream.write(frame(first));
    if (this.#ending) stream.end();
  }

  end(): void {
    this.#ending = true;
    this.#stream?.end();
  }

  cancel(): void {
    this.#cancelled = true;
    if (this.#stream) this.#stream.close(constants.NGHTTP2_CANCEL);
    else this.finish(status.cancelled, "cancelled");
  }

  finish(code: number, details: string): void {
    if (this.#finished) return;
    this.#finished = true;
    this.#events.ended(code, details, this.#code === undefined && code !== status.cancelled);
  }

  /** The status comes last, in the trailers; or at once, when there is nothing else to say. */
  #read(headers: IncomingHttpHeaders): void {
    const code = headers["grpc-status"];
    const http = Number(headers[":status"] ?? 200);
    if (typeof code === "string") this.#code = Number(code);
    else if (http !== 200) this.#code = httpStatus[http] ?? status.unavailable;
    const text = headers["grpc-message"];
    if (typeof text === "string") this.#details = unescaped(text);
    else if (http !== 200) this.#details = `HTTP status ${http}`;
  }
}

/** What stands before a gRPC server answers so. */
const httpStatus: Readonly<Record<number, number>> = {
  400: status.internal,
  401: status.unauthenticated,
  403: status.permissionDenied,
  404: status.unimplemented,
};

function unescaped(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
