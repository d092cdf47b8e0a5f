import { type Context, isSluiceError, SluiceError } from "@sluice/core";
import type { Issue, WireMessage, WireMiddleware } from "@sluice/core";
import {
  checked,
  type CloudEventAttributes,
  type CloudEventValue,
  isLegalText,
  issuesOf,
  type RawAttributes,
  sentence,
} from "./cloud-events-attributes.ts";
import { contentTypeOf, fromHeaders, takeFromHeaders, toHeaders } from "./cloud-events-headers.ts";
import { fromStructured, structuredType, toStructured } from "./cloud-events-json.ts";
import { checkChoice, checkFunction, checkObject, shown } from "./options.ts";

/** Attributes that a publisher may choose; the others are the message's own. */
export interface EventDetails {
  readonly type?: string | undefined;
  readonly subject?: string | undefined;
  /** An absolute URI. */
  readonly dataschema?: string | undefined;
  /** Extensions: names of lower-case letters and digits. */
  readonly [extension: string]: CloudEventValue | undefined;
}

/** Options of {@link cloudEvents}. */
export interface CloudEventsOptions {
  /** Who publishes: a URI-reference, such as `/services/orders` or `https://example.com/orders`. */
  readonly source: string;
  /** The events' type, also per topic. @default the topic's name */
  readonly type?: string | ((topic: string) => string);
  /**
   * `binary`: attributes are headers, and the body is the payload. `structured`: the body is one JSON object with both.
   * @default `structured` on SQS and SNS, else `binary`
   */
  readonly mode?: "binary" | "structured";
  /** Of the headers of binary mode. @default `ce_` on Kafka, `cloudEvents_` on RabbitMQ (Knative reads `ce-`), `ce-` elsewhere */
  readonly prefix?: "ce_" | "ce-" | "cloudEvents_" | "cloudEvents:";
  /** More attributes per message. What a publisher set as headers (`ce-subject`) wins. @default none */
  readonly details?: (message: Omit<WireMessage, "body">) => EventDetails;
  /** Writes the trace in which the event was made into it, where the message has one. @default false */
  readonly traceparent?: boolean;
  /** `refuse`: a message that is no CloudEvent is dead-lettered (`invalid`). @default 'accept' */
  readonly others?: "accept" | "refuse";
}

interface Binding {
  readonly mode: "binary" | "structured";
  readonly prefix: string;
  /** Binary mode writes `datacontenttype` as a header of its own besides `content-type`. */
  readonly twice?: true;
  /** Attributes that are headers in structured mode, too: the broker's filters see headers only. */
  readonly also?: readonly string[];
}

const bindings: Readonly<Record<string, Binding>> = {
  kafka: { mode: "binary", prefix: "ce_" },
  // An AMQP 1.0 consumer of the same queue sees them as its binding wants them.
  rabbitmq: { mode: "binary", prefix: "cloudEvents_" },
  gcp_pubsub: { mode: "binary", prefix: "ce-", twice: true },
  aws_sqs: { mode: "structured", prefix: "ce-", also: ["type"] },
};
const otherBinding: Binding = { mode: "binary", prefix: "ce-" };

const events = new WeakMap<object, CloudEventAttributes>();

/**
 * The event that a message is; `undefined` where it is none, or where the bus has no {@link cloudEvents}. Extensions of an event
 * in binary mode are text. n.b. For a foreign event `id` and `source` together tell duplicates, not `context.message.id`.
 */
export function cloudEventOf(context: Pick<Context, "message">): CloudEventAttributes | undefined {
  return events.get(context);
}

/**
 * Every message is a CloudEvent 1.0, in the binding of its broker: the id is the message's, the time that of its publication, the
 * key is `partitionkey`, the flow `correlationid` and `causationid`. Reads every binding and mode, whatever this bus writes, and
 * what other programs wrote; messages that are no events stay as they are. See {@link cloudEventOf}.
 *
 * Stands first in `wire`: what comes after it changes the bytes of the whole event.
 *
 * Breaking a rule of the specification: publishing rejects with `INVALID_MESSAGE`; a message is dead-lettered (`invalid`). `issues`
 * names the attributes.
 *
 * @throws SluiceError `CONFIG` for an illegal source or option
 */
export function cloudEvents(options: CloudEventsOptions): WireMiddleware {
  checkOptions(options);
  const { others = "accept" } = options;
  return {
    name: "cloudEvents",
    outgoing(message) {
      const binding = bindings[message.system] ?? otherBinding;
      const { mode = binding.mode, prefix = binding.prefix } = options;
      const event = eventFor(message, options);
      if (mode === "binary") return toHeaders(event, message.headers, prefix, binding.twice === true);
      message.body = toStructured(event, message.body);
      message.headers["content-type"] = structuredType;
      for (const name of binding.also ?? []) message.headers[prefix + name] = String(event[name]);
    },
    incoming(message, context) {
      const event = read(message, context);
      if (event) events.set(context, event);
      else if (others === "refuse") throw refused(message, "is no CloudEvent; publish it as one, or accept others");
    },
  };
}

function checkOptions(options: CloudEventsOptions): void {
  checkObject("cloudEvents: its argument", options, 'give { source }, such as { source: "/services/orders" }');
  const { source, type, mode, prefix, details, others } = options;
  const wrong = issuesOf({ specversion: "1.0", id: "1", type: "t", source });
  if (wrong.length > 0)
    throw new SluiceError("CONFIG", `cloudEvents: ${sentence(wrong)}; give a URI-reference such as "/services/orders"`);
  if (type !== undefined && typeof type !== "string" && typeof type !== "function")
    throw new SluiceError(
      "CONFIG",
      `cloudEvents: type is ${shown(type)}; give a text, or a function of the topic's name`,
    );
  checkChoice("cloudEvents: mode", mode, ["binary", "structured"]);
  checkChoice("cloudEvents: prefix", prefix, ["ce_", "ce-", "cloudEvents_", "cloudEvents:"]);
  checkChoice("cloudEvents: others", others, ["accept", "refuse"]);
  checkFunction("cloudEvents: details", details);
}

function eventFor(message: WireMessage, options: CloudEventsOptions): CloudEventAttributes {
  const { topic, id, key, time, headers } = message;
  const { type = topic } = options;
  const given = takeFromHeaders(headers);
  const event: RawAttributes = {
    // n.b. The order of the members is that of the headers.
    specversion: "1.0",
    id,
    source: options.source,
    type: typeof type === "string" ? type : type(topic),
    ...(time !== undefined && { time: timeText(time) }),
    ...usable("partitionkey", key),
    ...usable("correlationid", headers["correlation-id"]),
    ...usable("causationid", headers["causation-id"]),
    ...(options.traceparent && usable("traceparent", headers["traceparent"])),
    ...(options.traceparent && usable("tracestate", headers["tracestate"])),
    ...options.details?.(message),
    ...given,
  };
  // The codec's: what forwards an event has encoded it anew.
  Object.assign(event, { specversion: "1.0", datacontenttype: headers["content-type"] });
  return checked(event, (issues) =>
    refusal("INVALID_MESSAGE", message, `would break CloudEvents: ${sentence(issues)}`, issues),
  );
}

/** n.b. A key may hold what no attribute can: the event goes out without it. */
function usable(name: string, value: WireMessage["key"] | undefined): RawAttributes {
  return typeof value === "string" && value !== "" && isLegalText(value) ? { [name]: value } : {};
}

function timeText(ms: number): string {
  return new Date(ms).toISOString().replace(".000Z", "Z");
}

function read(message: WireMessage, context: Context): CloudEventAttributes | undefined {
  const type = contentTypeOf(message.headers);
  const structured = type !== undefined && /^\s*application\/cloudevents/i.test(type);
  const attributes = structured ? unwrap(message, type) : (fromHeaders(message.headers) ?? fromEnvelope(context));
  if (!attributes) return undefined;
  const event = checked(attributes, (issues) => refused(message, `breaks CloudEvents: ${sentence(issues)}`, issues));
  const { datacontenttype = structured ? "application/json" : undefined } = event;
  if (datacontenttype !== undefined) message.headers["content-type"] = datacontenttype;
  return event;
}

function unwrap(message: WireMessage, type: string): RawAttributes {
  const { body } = message;
  if (!/^\s*application\/cloudevents\+json\s*(;|$)/i.test(type)) {
    throw refused(message, `has content type "${type}"; send single events, as JSON or in binary mode`);
  }
  if (body === null) throw refused(message, "is a structured CloudEvent without a body");
  try {
    const { attributes, body: data } = fromStructured(body);
    message.body = data;
    return attributes;
  } catch (cause) {
    throw refused(
      message,
      `is no CloudEvent in JSON: ${cause instanceof Error ? cause.message : String(cause)}`,
      [],
      cause,
    );
  }
}

/** Redis Pub/Sub has no headers: its driver reads the envelope, and shows of it what messages have everywhere. */
function fromEnvelope({ native }: Context): RawAttributes | undefined {
  if (typeof native !== "object" || native === null || !("channel" in native) || !("message" in native))
    return undefined;
  if (!(native.message instanceof Uint8Array) || native.message[0] !== 0x7b) return undefined;
  try {
    const { specversion, ...rest } = fromStructured(native.message).attributes;
    const own = Object.keys(rest).filter((name) => name.startsWith("sluice"));
    for (const name of own) delete rest[name];
    return specversion === "1.0" ? { specversion, ...rest } : undefined;
  } catch {
    return undefined;
  }
}

function refused(message: WireMessage, what: string, issues: readonly Issue[] = [], cause?: unknown): SluiceError {
  return isSluiceError(cause) ? cause : refusal("INVALID_PAYLOAD", message, what, issues, cause);
}

function refusal(
  code: "INVALID_PAYLOAD" | "INVALID_MESSAGE",
  { id, topic }: WireMessage,
  what: string,
  issues: readonly Issue[],
  cause?: unknown,
): SluiceError {
  return new SluiceError(code, `cloudEvents: message ${id} of topic "${topic}" ${what}`, {
    issues,
    ...(cause !== undefined && { cause }),
  });
}
