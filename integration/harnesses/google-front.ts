/**
 * Google's emulator knows no rights and no credentials. This front before it passes calls on as bytes, knows who asks for what, and
 * refuses what it is told to with a gRPC status, as the service would.
 */
import {
  type ClientHttp2Session,
  connect,
  constants,
  createSecureServer,
  createServer,
  type Http2Server,
  type Http2Session,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from "node:http2";
import { buffer } from "node:stream/consumers";

/** One call: by which client and with which token, what (`CreateTopic`), about which topic or subscription. */
export interface Asked {
  /** `clientName` of who connected. */
  readonly client: string;
  readonly token: string;
  readonly method: string;
  readonly resource: string;
  /** The request; of a stream nothing. */
  readonly message: Buffer;
}

/** gRPC's number for a status, and the service's words. */
export interface Refusal {
  readonly status: number;
  readonly text: string;
}

export interface GoogleFront {
  /** `host:port`. */
  readonly address: string;
  /** Asks again about the streams that run: who may no longer is cut off. */
  enforce(): void;
  close(): void;
}

/** What it shows, for clients that send credentials: they do so with TLS only. */
export interface FrontTls {
  readonly pfx: Buffer;
  readonly passphrase: string;
}

type Judge = (asked: Asked) => Refusal | undefined;

/** It does not keep the process alive. */
export async function openGoogleFront(target: string, judge: Judge, tls?: FrontTls): Promise<GoogleFront> {
  const server = tls ? createSecureServer({ ...tls }) : createServer();
  const front = new Front(server, target, judge);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  server.unref();
  const address = server.address();
  return {
    address: `127.0.0.1:${typeof address === "object" ? address?.port : ""}`,
    enforce: () => front.enforce(),
    close: () => front.close(),
  };
}

class Front {
  readonly #server: Http2Server;
  readonly #target: string;
  readonly #judge: Judge;
  readonly #sessions = new Map<Http2Session, ClientHttp2Session>();
  readonly #streams = new Map<Passing, Asked>();

  constructor(server: Http2Server, target: string, judge: Judge) {
    this.#server = server;
    this.#target = target;
    this.#judge = judge;
    server.on("session", (session) => this.#open(session));
    server.on("stream", (stream, headers) => void this.#answer(stream, headers));
  }

  enforce(): void {
    for (const [passing, asked] of this.#streams) {
      const refusal = this.#judge(asked);
      if (refusal) passing.refuse(refusal);
    }
  }

  close(): void {
    for (const session of this.#sessions.keys()) session.destroy();
    this.#server.close();
  }

  /** A connection to the emulator for each of ours, so that both break together. */
  #open(session: ServerHttp2Session): void {
    const inner = connect(`http://${this.#target}`);
    inner.unref();
    session.unref();
    this.#sessions.set(session, inner);
    inner.on("error", () => session.destroy());
    inner.on("close", () => session.destroy());
    session.on("error", () => {});
    session.on("close", () => {
      this.#sessions.delete(session);
      inner.destroy();
    });
  }

  async #answer(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): Promise<void> {
    stream.on("error", () => {});
    const inner = stream.session && this.#sessions.get(stream.session);
    const method = (headers[":path"] ?? "").replace(/^.*\//, "");
    const streams = method === "StreamingPull";
    const body = streams ? undefined : await buffer(stream).catch(() => undefined);
    if (!inner || stream.destroyed) return stream.close();
    const asked: Asked = {
      client: (headers["user-agent"] ?? "").replace(/ .*$/, ""),
      token: (headers.authorization ?? "").replace(/^Bearer /, ""),
      method,
      resource: decodeURI(String(headers["x-goog-request-params"] ?? "")).replace(/^.*[/=]/, ""),
      // n.b. before it are a flag and the length.
      message: body?.subarray(5) ?? Buffer.alloc(0),
    };
    const passing = new Passing(stream);
    const refusal = this.#judge(asked);
    if (refusal) return passing.refuse(refusal);
    if (streams) {
      this.#streams.set(passing, asked);
      stream.once("close", () => this.#streams.delete(passing));
    }
    passing.on(inner, headers, body);
  }
}

/** A call on its way through. */
class Passing {
  readonly #stream: ServerHttp2Stream;
  #cut = () => {};
  #trailers: IncomingHttpHeaders = {};

  constructor(stream: ServerHttp2Stream) {
    this.#stream = stream;
    stream.on("wantTrailers", () => stream.sendTrailers(this.#trailers));
  }

  on(session: ClientHttp2Session, headers: IncomingHttpHeaders, body: Buffer | undefined): void {
    const stream = this.#stream;
    const { ":authority": _authority, ":scheme": _scheme, authorization: _authorization, ...passed } = headers;
    const inner = session.request(passed, { endStream: false });
    inner.on("error", () => stream.close(constants.NGHTTP2_INTERNAL_ERROR));
    stream.once("close", () => inner.close(constants.NGHTTP2_CANCEL));
    inner.once("response", (answer, flags) => {
      if (stream.destroyed || stream.headersSent) return;
      const only = (flags & constants.NGHTTP2_FLAG_END_STREAM) !== 0;
      stream.respond(answer, only ? { endStream: true } : { waitForTrailers: true });
      if (!only) inner.pipe(stream);
    });
    inner.once("trailers", (trailers) => (this.#trailers = trailers));
    this.#cut = () => {
      inner.unpipe(stream);
      inner.removeAllListeners("trailers");
      inner.close(constants.NGHTTP2_CANCEL);
    };
    if (body) inner.end(body);
    else stream.pipe(inner);
  }

  refuse({ status, text }: Refusal): void {
    const words = { "grpc-status": String(status), "grpc-message": encodeURIComponent(text) };
    const stream = this.#stream;
    this.#cut();
    stream.resume();
    if (stream.destroyed || stream.writableEnded) return;
    if (stream.headersSent) {
      this.#trailers = words;
      stream.end();
    } else stream.respond({ ":status": 200, "content-type": "application/grpc", ...words }, { endStream: true });
  }
}
