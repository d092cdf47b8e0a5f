import type { Context, WireMessage, WireMiddleware } from "@sluice/core";

/** A message on its way, as core would hand it to wire middleware. */
export function wireMessage(parts: Partial<WireMessage> = {}): WireMessage {
  const headers = Object.assign(Object.create(null), parts.headers) as Record<string, string>;
  return {
    system: "memory",
    topic: "orders",
    id: "m-1",
    key: null,
    time: 1_522_900_584_000,
    body: Buffer.from('{"a":1}'),
    ...parts,
    headers,
  };
}

/** Enough of a context for what reads nothing but its identity and the native message. */
export function wireContext(native?: unknown): Context {
  return { native } as unknown as Context;
}

export async function outgoing(list: readonly WireMiddleware[], message: WireMessage): Promise<WireMessage> {
  for (const each of list) await each.outgoing?.(message);
  return message;
}

/** As core does: headers are a copy, and the order is the opposite one. */
export async function incoming(
  list: readonly WireMiddleware[],
  sent: WireMessage,
  context: Context = wireContext(),
): Promise<WireMessage> {
  const message = wireMessage({ ...sent, body: sent.body && new Uint8Array(sent.body) });
  for (const each of list.toReversed()) await each.incoming?.(message, context);
  return message;
}

export function textOf(body: Uint8Array | null): string | undefined {
  return body === null ? undefined : Buffer.from(body).toString();
}
