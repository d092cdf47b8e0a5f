import type { Bytes, Headers, Key } from "./driver/index.ts";

/** What a codec and wire middleware know of the message whose bytes they make or read. */
export interface WireMessage {
  /** The broker's name as the driver states it: `kafka`, `rabbitmq`, … */
  readonly system: string;
  readonly topic: string;
  readonly id: string;
  readonly key: Key;
  /** When it was first published, wall milliseconds; `undefined` when the broker does not tell. */
  readonly time: number | undefined;
  /** May be changed. On the way in it is a copy where there is wire middleware: what is moved keeps its own. */
  readonly headers: Headers;
  /** `null` before the codec encoded it, and for a tombstone. */
  body: Bytes | null;
}

/**
 * Payload to bytes and back. A codec throws when it cannot; the message is then dead-lettered (`invalid`) with its bytes. An
 * `UnavailableError` says that something it needs is down: the message waits without counting an attempt, and a publish
 * rejects with `UNAVAILABLE`. Promises are for codecs that ask a registry: they keep the order of publishes.
 */
export interface Codec<T = unknown> {
  /** Written to the `content-type` header, and checked against it on the way in. `encode` may set another one in `message.headers`. */
  readonly contentType: string;
  encode(payload: T, message: WireMessage): Bytes | Promise<Bytes>;
  decode(body: Bytes, message: WireMessage): T | Promise<T>;
  /** Whether it reads this content type. A message without one is read in any case. @default the same media type as `contentType` */
  accepts?(contentType: string): boolean;
}

/** A codec that needs nothing but the bytes, and is done at once. */
export interface PlainCodec<T = unknown> extends Codec<T> {
  encode(payload: T): Bytes;
  decode(body: Bytes): T;
}

const decoder = new TextDecoder("utf-8", { fatal: true });

/** A `Buffer` from Node's pool: a quarter of the cost of TextEncoder, which allocates outside of the heap for each text. */
function utf8(text: string): Bytes {
  return Buffer.from(text, "utf8");
}

/** JSON in UTF-8: the default. `undefined` and values that JSON cannot hold are refused. */
export function json(): PlainCodec {
  return {
    contentType: "application/json",
    encode(payload) {
      const text = JSON.stringify(payload) as string | undefined;
      if (text === undefined) throw new TypeError(`JSON cannot hold ${typeof payload}`);
      return utf8(text);
    },
    decode: (body) => JSON.parse(decoder.decode(body)) as unknown,
  };
}

/** Text in UTF-8. */
export function text(): PlainCodec<string> {
  return {
    contentType: "text/plain; charset=utf-8",
    encode: utf8,
    decode: (body) => decoder.decode(body),
  };
}

/** Bytes as they are. */
export function bytes(): PlainCodec<Bytes> {
  return {
    contentType: "application/octet-stream",
    encode: (payload) => payload,
    decode: (body) => body,
  };
}
