import type { WireMessage } from "../codec.ts";
import type { Context } from "../context.ts";
import { emptyHeaders, type Headers, wire } from "../driver/index.ts";
import { isPermanent, isSluiceError, isUnavailable, SluiceError } from "../errors.ts";
import type { WireMiddleware } from "../middleware.ts";
import { validate } from "../schema.ts";
import type { AnyTopic } from "../topic.ts";
import { describe } from "./fate.ts";
import type { Work } from "./work.ts";

/**
 * Bytes → wire middleware → codec → schema. Synchronous when all of them are. A tombstone (null body) skips the codec.
 * @param system the driver's
 * @throws SluiceError `INVALID_PAYLOAD`: dead-lettered at once with the original bytes
 * @throws UnavailableError what the codec or the wire middleware needs is down
 */
export function decode(work: Work, context: Context, system: string, list: readonly WireMiddleware[]): unknown {
  const { topic, id, delivery } = work;
  const { key, body, time } = delivery;
  const headers = list.length > 0 ? copyOf(delivery.headers) : delivery.headers;
  const message: WireMessage = { system, topic: topic.name, id, key, time, headers, body };
  const undone = undo(list, list.length - 1, message, context);
  return undone ? undone.then(() => decodeMessage(topic, message)) : decodeMessage(topic, message);
}

function undo(
  list: readonly WireMiddleware[],
  last: number,
  message: WireMessage,
  context: Context,
): Promise<void> | undefined {
  for (let index = last; index >= 0; index--) {
    const each = list[index];
    const failed = (cause: unknown) => fail(cause, () => `${whatOf(message)} cannot be read by ${each?.name}`);
    const done = guard(() => each?.incoming?.(message, context), failed);
    if (done instanceof Promise) return done.then(() => undo(list, index - 1, message, context), failed);
  }
  return undefined;
}

function decodeMessage(topic: AnyTopic, message: WireMessage): unknown {
  const { body } = message;
  if (body === null) return check(topic, null, message);
  const { codec } = topic;
  const given = message.headers[wire.contentType];
  if (given !== undefined && given !== codec.contentType && !accepts(codec, given)) {
    const text = `${whatOf(message)} has content type "${given}"; the topic's codec reads "${codec.contentType}"`;
    throw new SluiceError("INVALID_PAYLOAD", text);
  }
  const failed = (cause: unknown) => fail(cause, () => `${whatOf(message)} cannot be decoded as ${codec.contentType}`);
  const payload = guard(() => codec.decode(body, message), failed);
  if (payload instanceof Promise) return payload.then((late) => check(topic, late, message), failed);
  return check(topic, payload, message);
}

/** A schema that throws is as final as one that refuses: the same bytes will throw again. */
function check(topic: AnyTopic, payload: unknown, message: WireMessage): unknown {
  const { schema } = topic;
  if (!schema) return payload;
  const failed = (cause: unknown) => fail(cause, () => `${whatOf(message)}: its schema threw`);
  const checked = guard(() => validate(schema, payload, whatOf(message)), failed);
  return checked instanceof Promise ? checked.catch(failed) : checked;
}

function guard<T>(run: () => T, failed: (cause: unknown) => never): T {
  try {
    return run();
  } catch (cause) {
    return failed(cause);
  }
}

function fail(cause: unknown, what: () => string): never {
  if (isSluiceError(cause) || isUnavailable(cause) || isPermanent(cause)) throw cause;
  throw new SluiceError("INVALID_PAYLOAD", `${what()}: ${describe(cause)}`, { cause });
}

function whatOf({ id, topic }: WireMessage): string {
  return `message ${id} of topic "${topic}"`;
}

function accepts(codec: AnyTopic["codec"], given: string): boolean {
  return codec.accepts?.(given) ?? mediaType(given) === mediaType(codec.contentType);
}

function copyOf(headers: Headers): Headers {
  return Object.assign(emptyHeaders(), headers);
}

function mediaType(contentType: string): string {
  const end = contentType.indexOf(";");
  return (end < 0 ? contentType : contentType.slice(0, end)).trim().toLowerCase();
}
