import {
  type Bytes,
  type Capabilities,
  type Key,
  type Limits,
  type OutgoingRecord,
  type Runtime,
  type SendItem,
  wire,
} from "../driver/index.ts";
import { type Duration, milliseconds } from "../duration.ts";
import { isSluiceError, SluiceError } from "../errors.ts";
import type { Draft } from "../middleware.ts";
import { validate } from "../schema.ts";
import type { AnyTopic, Topic } from "../topic.ts";
import { checkHeaders, firstHeaders, type Refuse } from "./headers.ts";
import { encode, type EncodePort } from "./encode.ts";
import { withOutcome } from "./failure.ts";
import { overheadBytes } from "./entry.ts";
import type { PublishOptions } from "./options.ts";

/** What building a record needs of the bus. */
export interface RecordPort extends EncodePort {
  readonly runtime: Runtime;
  limits(): Limits;
  capabilities(): Capabilities;
}

/**
 * Checks a payload and names the message: what publish middleware sees. Synchronous when the schema is.
 * The key is taken from the checked payload; the payload itself goes out as it was given, because the consumer checks it again.
 *
 * @throws SluiceError `INVALID_PAYLOAD`, `INVALID_MESSAGE`, each with outcome `not-stored`
 */
export function draft<Input, Output>(
  topic: Topic<Input, Output>,
  id: string,
  payload: Input,
  options: PublishOptions,
  port: RecordPort,
  cause: Draft["cause"],
  batch?: Draft["batch"],
): Draft | Promise<Draft> {
  const { schema } = topic;
  // Without a schema Input and Output are the same type.
  if (!schema) return named(topic, id, payload, payload as unknown as Output, options, port, cause, batch);
  const what = `${port.driver}: payload for "${topic.name}"`;
  const checked = attempt(topic, port, () => validate(schema, payload, what));
  if (!(checked instanceof Promise)) return named(topic, id, payload, checked, options, port, cause, batch);
  return checked.then(
    (late) => named(topic, id, payload, late, options, port, cause, batch),
    (error: unknown) => {
      throw invalidPayload(topic, port, error);
    },
  );
}

function named<Input, Output>(
  topic: Topic<Input, Output>,
  id: string,
  payload: Input,
  checked: Output,
  options: PublishOptions,
  port: RecordPort,
  cause: Draft["cause"],
  batch: Draft["batch"],
): Draft {
  const refuse = refusal(topic.name, port);
  if (options.delivery !== "at-most-once" && port.capabilities().delivery === "at-most-once") {
    const help = "state delivery: 'at-most-once' if messages may be lost";
    throw notStored("UNSUPPORTED", `${port.driver}: "${topic.name}" cannot promise delivery on this broker; ${help}`);
  }
  // n.b. what a message's handler publishes brings trace and correlation along: a driver without headers takes what it can.
  if (options.headers !== undefined && cause === undefined && port.capabilities().headers === "absent") {
    const help = "put it into the payload";
    throw notStored(
      "UNSUPPORTED",
      `${port.driver}: message to "${topic.name}" has headers, which this broker has not; ${help}`,
    );
  }
  if (options.id !== undefined && (typeof id !== "string" || !/^[\x21-\x7e]{1,128}$/.test(id))) {
    throw refuse("INVALID_MESSAGE", `has id ${show(id)}; use 1 to 128 printable ASCII characters without blanks`);
  }
  const key = options.key === undefined ? keyOf(topic, checked, port) : options.key;
  return {
    topic,
    id,
    key,
    headers: firstHeaders(options.headers, topic.codec.contentType, refuse),
    payload,
    cause,
    batch,
  };
}

/** An item with its memory in bytes, about. */
export interface Outgoing {
  readonly item: SendItem;
  readonly bytes: number;
}

/**
 * Encodes a draft, and checks it against the broker's limits before anything is sent. Synchronous when the encoding is.
 * @throws SluiceError `INVALID_PAYLOAD`, `INVALID_MESSAGE`, `TOO_LARGE`, `UNSUPPORTED`, `CONFIG`, each with outcome `not-stored`
 */
export function toItem(message: Draft, options: PublishOptions, port: RecordPort): Outgoing | Promise<Outgoing> {
  const time = Math.floor(port.runtime.wallMs());
  const body = encode(message, time, port);
  if (body instanceof Promise) return body.then((late) => itemOf(message, late, time, options, port));
  return itemOf(message, body, time, options, port);
}

function itemOf(message: Draft, body: Bytes, time: number, options: PublishOptions, port: RecordPort): Outgoing {
  const { topic, id, key, headers } = message;
  const limits = port.limits();
  const refuse = refusal(topic.name, port);
  checkKey(key, limits, refuse);
  const headerBytes = checkHeaders(headers, options.expiresAt === undefined ? 0 : 1, limits, refuse);
  if (options.expiresAt !== undefined)
    headers[wire.expiresAt] = String(wallMs(options.expiresAt, "expiresAt", topic, port));
  if (body.byteLength > limits.messageBytes) {
    const numbers = `${body.byteLength} bytes, above the limit of ${limits.messageBytes}`;
    throw refuse("TOO_LARGE", `has a payload of ${numbers}; send less, or store it elsewhere and send a reference`);
  }
  const priority = priorityOf(options, topic, port);
  const notBefore = dueTime(options, time, limits, topic, port);
  const record: OutgoingRecord = { id, dedupId: `${id}/0`, key, body, headers, time };
  const item: SendItem = {
    to: { topic: topic.name },
    record: priority === undefined ? record : { ...record, priority },
  };
  const bytes = overheadBytes + body.byteLength + (key?.length ?? 0) + headerBytes;
  return { item: notBefore === undefined ? item : { ...item, notBefore }, bytes };
}

function keyOf<Input, Output>(topic: Topic<Input, Output>, checked: Output, port: RecordPort): string | null {
  return topic.key ? attempt(topic, port, () => topic.key?.(checked) ?? null) : null;
}

function checkKey(key: Key, limits: Limits, refuse: Refuse): void {
  if (key === null) return;
  if (typeof key !== "string" && !(key instanceof Uint8Array)) {
    throw refuse("INVALID_MESSAGE", `has a key of type ${typeof key}; a key is a string, or null for none`);
  }
  if (typeof key === "string" && !key.isWellFormed()) {
    throw refuse("INVALID_MESSAGE", "has a key with half a surrogate pair; UTF-8 cannot hold it");
  }
  if (key.length * 3 <= limits.keyBytes) return;
  const bytes = typeof key === "string" ? Buffer.byteLength(key) : key.byteLength;
  if (bytes > limits.keyBytes) {
    throw refuse(
      "INVALID_MESSAGE",
      `has a key of ${bytes} bytes, above the limit of ${limits.keyBytes}; use a shorter one`,
    );
  }
}

/** n.b. The types refuse what the broker lacks; this is for plain JavaScript, and for drivers chosen at run time. */
function priorityOf({ priority }: PublishOptions, topic: AnyTopic, port: RecordPort): number | undefined {
  if (priority === undefined) return undefined;
  if (port.capabilities().priority === "absent") {
    throw notStored("UNSUPPORTED", `${port.driver}: "${topic.name}" cannot have priorities; use a topic per priority`);
  }
  if (Number.isInteger(priority) && priority >= 0 && priority <= 9) return priority;
  throw notStored(
    "CONFIG",
    `${port.driver}: priority for "${topic.name}" is ${show(priority)}; give an integer from 0 to 9`,
  );
}

function dueTime(
  options: PublishOptions,
  nowMs: number,
  limits: Limits,
  topic: AnyTopic,
  port: RecordPort,
): number | undefined {
  const { delay, deliverAt } = options;
  if (delay === undefined && deliverAt === undefined) return undefined;
  const what = `${port.driver}: message to "${topic.name}"`;
  if (port.capabilities().delay.topic === "absent") {
    const help = "publish it when it is due, or let the handler defer it";
    throw notStored("UNSUPPORTED", `${what} cannot be delayed: this broker has no delayed publish; ${help}`);
  }
  if (delay !== undefined && deliverAt !== undefined) {
    throw notStored("CONFIG", `${what} has both delay and deliverAt; give one of them`);
  }
  const wantedMs = delay === undefined ? wallMs(deliverAt, "deliverAt", topic, port) - nowMs : duration(delay, port);
  if (wantedMs <= 0) return undefined;
  const { delayMs, delayStepMs } = limits;
  const waitMs = delayStepMs > 0 ? Math.ceil(wantedMs / delayStepMs) * delayStepMs : wantedMs;
  if (waitMs > delayMs) {
    const help = "publish it later, or let the handler defer it again";
    throw notStored("UNSUPPORTED", `${what} is delayed by ${waitMs} ms, above the limit of ${delayMs} ms; ${help}`);
  }
  return nowMs + Math.ceil(waitMs);
}

function duration(delay: Duration, port: RecordPort): number {
  try {
    return milliseconds(delay, `delay of a publish to ${port.driver}`);
  } catch (error) {
    throw withOutcome(error);
  }
}

function wallMs(date: unknown, option: string, topic: AnyTopic, port: RecordPort): number {
  const ms = date instanceof Date ? date.getTime() : Number.NaN;
  if (!Number.isNaN(ms)) return ms;
  throw notStored("CONFIG", `${port.driver}: ${option} for "${topic.name}" is ${show(date)}; give a valid Date`);
}

/** Runs the user's own code: schema or key function. */
function attempt<T>(topic: AnyTopic, port: RecordPort, run: () => T): T {
  try {
    return run();
  } catch (error) {
    throw invalidPayload(topic, port, error);
  }
}

function invalidPayload(topic: AnyTopic, port: RecordPort, error: unknown): SluiceError {
  if (isSluiceError(error)) return withOutcome(error);
  const reason = error instanceof Error ? error.message : show(error);
  const text = `${port.driver}: payload for "${topic.name}" cannot be encoded: ${reason}; fix the payload, or the topic's codec`;
  return notStored("INVALID_PAYLOAD", text, error);
}

function refusal(topic: string, port: RecordPort): Refuse {
  return (code, detail) => notStored(code, `${port.driver}: message to "${topic}" ${detail}`);
}

function notStored(code: SluiceError["code"], text: string, cause?: unknown): SluiceError {
  return new SluiceError(code, text, { outcome: "not-stored", ...(cause === undefined ? {} : { cause }) });
}

function show(value: unknown): string {
  return typeof value === "string" ? JSON.stringify(value.slice(0, 80)) : String(value);
}
