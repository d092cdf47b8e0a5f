import type { Attribute, Attributes } from "./attributes.ts";

interface Unwrapped {
  readonly body: string;
  readonly attributes: Attributes;
}

/** What a queue that somebody subscribed by hand gets: the message inside a JSON text, unless delivery is raw. */
interface Notification {
  readonly Type?: unknown;
  readonly TopicArn?: unknown;
  readonly Message?: unknown;
  readonly MessageAttributes?: Readonly<
    Record<string, { readonly Type?: unknown; readonly Value?: unknown } | null>
  > | null;
}

/** Takes the message out of SNS's envelope, where there is one. Raw messages cost a look at their first character. */
export function unwrap(body: string, attributes: Attributes): Unwrapped {
  if (!body.startsWith("{") || Object.keys(attributes).length > 0) return { body, attributes };
  if (!/"Type"\s*:\s*"Notification"/.test(body.slice(0, 1_000))) return { body, attributes };
  const notification = parse(body);
  const { Message: message, MessageAttributes: given } = notification;
  const ours = notification.Type === "Notification" && typeof notification.TopicArn === "string";
  return ours && typeof message === "string" ? { body: message, attributes: read(given ?? {}) } : { body, attributes };
}

function parse(body: string): Notification {
  try {
    return (JSON.parse(body) as Notification | null) ?? {};
  } catch {
    return {};
  }
}

function read(given: NonNullable<Notification["MessageAttributes"]>): Attributes {
  const attributes: Record<string, Attribute> = {};
  // n.b. anybody who may send to the queue can write one: nothing in it is certain.
  for (const [name, entry] of Object.entries(given)) {
    const { Type, Value } = entry ?? {};
    if (typeof Type !== "string" || typeof Value !== "string") continue;
    const value = Type.startsWith("Binary") ? { BinaryValue: Buffer.from(Value, "base64") } : { StringValue: Value };
    attributes[name] = { DataType: Type, ...value };
  }
  return attributes;
}
