import type { WireMessage } from "../codec.ts";
import { isSluiceError, isUnavailable, SluiceError } from "../errors.ts";
import type { Draft, WireMiddleware } from "../middleware.ts";
import { withOutcome } from "./failure.ts";

/** What making the bytes needs of the bus. */
export interface EncodePort {
  /** First word of error messages. */
  readonly driver: string;
  readonly system: string;
  readonly wire: readonly WireMiddleware[];
}

const codecHelp = "fix the payload, or the topic's codec";

/**
 * Payload → codec → wire middleware → bytes. Synchronous when all of them are.
 * @param time of the publish, wall milliseconds
 * @throws SluiceError `INVALID_PAYLOAD`, `UNAVAILABLE`, or the codec's own, each with outcome `not-stored`
 */
export function encode(draft: Draft, time: number, port: EncodePort): Uint8Array | Promise<Uint8Array> {
  const { topic, id, key, headers, payload } = draft;
  const message: WireMessage = { system: port.system, topic: topic.name, id, key, time, headers, body: null };
  let body: unknown;
  try {
    body = topic.codec.encode(payload, message);
  } catch (error) {
    throw failure(error, topic.name, port, codecHelp);
  }
  // The usual case: no closure, no promise.
  if (body instanceof Uint8Array && port.wire.length === 0) return body;
  if (!(body instanceof Promise)) return finish(body, message, port);
  return body.then(
    (late) => finish(late, message, port),
    (error: unknown) => {
      throw failure(error, topic.name, port, codecHelp);
    },
  );
}

function finish(body: unknown, message: WireMessage, port: EncodePort): Uint8Array | Promise<Uint8Array> {
  if (!(body instanceof Uint8Array)) {
    const cause = new TypeError(`the codec gave ${show(body)} instead of bytes`);
    throw failure(cause, message.topic, port, codecHelp);
  }
  message.body = body;
  const { wire } = port;
  if (wire.length === 0) return body;
  const changed = change(wire, 0, message, port);
  return changed ? changed.then(() => bytesOf(message, port)) : bytesOf(message, port);
}

function change(
  wire: readonly WireMiddleware[],
  first: number,
  message: WireMessage,
  port: EncodePort,
): Promise<void> | undefined {
  for (let index = first; index < wire.length; index++) {
    const each = wire[index];
    const failed = (error: unknown): never => {
      throw failure(error, message.topic, port, `see the middleware ${each?.name}`);
    };
    const done = guard(() => each?.outgoing?.(message), failed);
    if (done instanceof Promise) return done.then(() => change(wire, index + 1, message, port), failed);
  }
  return undefined;
}

function bytesOf({ body, topic }: WireMessage, port: EncodePort): Uint8Array {
  if (body instanceof Uint8Array) return body;
  const cause = new TypeError(`wire middleware left ${show(body)} instead of bytes`);
  throw failure(cause, topic, port, "see the wire middleware");
}

function guard<T>(run: () => T, failed: (error: unknown) => never): T {
  try {
    return run();
  } catch (error) {
    return failed(error);
  }
}

function failure(error: unknown, topic: string, { driver }: EncodePort, help: string): SluiceError {
  if (isSluiceError(error)) return withOutcome(error);
  const reason = error instanceof Error ? error.message : show(error);
  const options = { outcome: "not-stored", cause: error } as const;
  const what = `${driver}: payload for "${topic}" cannot be encoded`;
  if (!isUnavailable(error)) return new SluiceError("INVALID_PAYLOAD", `${what}: ${reason}; ${help}`, options);
  return new SluiceError("UNAVAILABLE", `${what} now: ${reason}; publish it again later`, options);
}

function show(value: unknown): string {
  return typeof value === "string" ? JSON.stringify(value.slice(0, 80)) : String(value);
}
