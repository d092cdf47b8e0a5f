import type { Codec } from "@sluice/core";
import { config, invalid, reasonOf, whatOf } from "./errors.ts";
import { scanJson } from "./json-scan.ts";
import { Unreadable } from "./unreadable.ts";

/** What a body may ask of the process that reads it. Checked on the bytes, before memory is spent on values. */
export interface PayloadLimits {
  /** Bytes of the body. */
  readonly bytes: number;
  /** Records, arrays, maps, messages or objects inside of each other. */
  readonly depth: number;
  /** Items, entries and fields in all of the body. */
  readonly elements: number;
}

/** 8 MiB, 100 levels (what Protobuf's own readers allow), 200,000 elements. */
export const defaultPayloadLimits: PayloadLimits = Object.freeze({
  bytes: 8 * 1024 * 1024,
  depth: 100,
  elements: 200_000,
});

/**
 * The defaults with your changes.
 * @throws SluiceError `CONFIG` unless each is a positive integer
 */
export function payloadLimits(changes: Partial<PayloadLimits> = {}): PayloadLimits {
  const limits = { ...defaultPayloadLimits, ...changes };
  for (const [name, value] of Object.entries(limits)) {
    if (Number.isSafeInteger(value) && value > 0) continue;
    throw config(`limit "${name}" is ${String(value)}; give a positive integer`);
  }
  return limits;
}

/** @throws Unreadable when the body is longer than it may be */
export function checkBytes(body: Uint8Array, { bytes }: PayloadLimits): void {
  if (body.byteLength <= bytes) return;
  throw new Unreadable(`the body has ${body.byteLength} bytes, above the limit of ${bytes}`);
}

/**
 * The same codec with limits on what it reads: the body's bytes, and for JSON (`application/json`, `…+json`) nesting and number
 * of elements, counted on the bytes. Codecs of this package have a `limits` option of their own.
 */
export function limited<T>(codec: Codec<T>, changes?: Partial<PayloadLimits>): Codec<T> {
  const limits = payloadLimits(changes);
  const scan = /^application\/(?:[^;]+\+)?json\s*(?:;|$)/i.test(codec.contentType);
  return {
    ...(codec.accepts && { accepts: (contentType: string) => codec.accepts?.(contentType) ?? false }),
    contentType: codec.contentType,
    encode: (payload, message) => codec.encode(payload, message),
    decode(body, message) {
      try {
        checkBytes(body, limits);
        if (scan) scanJson(body, limits);
      } catch (cause) {
        const help = "raise the limit, or discard the message";
        throw invalid(`${whatOf("limits", message)} is refused`, [{ path: "", message: reasonOf(cause) }], help, cause);
      }
      return codec.decode(body, message);
    },
  };
}
