import type { Context } from "@sluice/core";
import { cloudEventOf } from "./cloud-events.ts";
import type { CloudEventAttributes } from "./cloud-events-attributes.ts";

/** A CloudEvent as an object: those of the package `cloudevents`, and what its constructor takes. */
export interface CloudEventLike<Data = unknown> {
  readonly specversion: string;
  readonly id: string;
  readonly source: string;
  readonly type: string;
  readonly time?: string | undefined;
  readonly datacontenttype?: string | undefined;
  readonly dataschema?: string | undefined;
  readonly subject?: string | undefined;
  readonly data?: Data | undefined;
  readonly data_base64?: string | undefined;
  readonly [extension: string]: unknown;
}

/** What to publish so that an event goes on as it is. */
export interface EventToPublish<Data> {
  readonly payload: Data;
  readonly options: { readonly id?: string; readonly key?: string; readonly headers: Record<string, string> };
}

/** The event of a message with its payload, for code that wants one object; `undefined` where the message is none. */
export function toCloudEvent<Data>(
  context: Pick<Context, "message">,
  data: Data,
): (CloudEventAttributes & { readonly data: Data }) | undefined {
  const attributes = cloudEventOf(context);
  // The index of extensions says nothing of data, which no attribute can be called.
  return attributes && ({ ...attributes, data } as CloudEventAttributes & { readonly data: Data });
}

/**
 * Publishes an event that exists already: its attributes stay, also id, source and time. Its key is `partitionkey`. The content
 * type is the codec's, which encodes the data anew.
 *
 * `const { payload, options } = fromCloudEvent(event); await bus.publish(Orders, payload, options);`
 */
export function fromCloudEvent<Data>(event: CloudEventLike<Data>): EventToPublish<Data> {
  const { data, data_base64: base64, datacontenttype: _, specversion: __, ...attributes } = event;
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== null && typeof value !== "function") headers[`ce-${name}`] = canonical(value);
  }
  const { id, partitionkey } = attributes;
  return {
    // Bytes are what the event says they are, whatever array its class made of them.
    payload: (typeof base64 === "string" ? new Uint8Array(Buffer.from(base64, "base64")) : data) as Data,
    options: {
      // What no message can be called stays the event's id, in its header.
      ...(/^[\x21-\x7e]{1,128}$/.test(id) && { id }),
      ...(typeof partitionkey === "string" && { key: partitionkey }),
      headers,
    },
  };
}

function canonical(value: unknown): string {
  if (typeof value === "string") return value;
  if (value instanceof Date) return value.toISOString();
  if (value instanceof Uint8Array) return Buffer.from(value).toString("base64");
  // Numbers and booleans are their JSON; what no attribute can be is refused when it is published.
  return JSON.stringify(value);
}
