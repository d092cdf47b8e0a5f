/** Raw bytes and headers through the public API. */
import assert from "node:assert/strict";
import { type Bus, bytes, topic as declareTopic, type PublishOptions, type Receipt, type Topic } from "@sluice/core";
import { refuses } from "./cases/needs.ts";
import { within } from "./clock.ts";
import type { CaseContext } from "./context.ts";
import { quickRetry, readable, stated } from "./flow.ts";

interface Seen {
  readonly body: Uint8Array;
  readonly headers: Readonly<Record<string, string>>;
}

export interface Collector {
  readonly bus: Bus;
  readonly topic: Topic<Uint8Array>;
  /** By message id. */
  readonly seen: Map<string, Seen>;
  readonly arrived: (id: string) => Promise<void>;
  readonly publish: (body: Uint8Array, options?: PublishOptions) => Promise<Receipt>;
}

/** A topic of raw bytes whose single subscription collects what comes. */
export async function collector(context: CaseContext): Promise<Collector> {
  const bus = await context.connect();
  const topic = declareTopic(context.name(), { codec: bytes(), shards: 4 });
  const seen = new Map<string, { readonly body: Uint8Array; readonly headers: Readonly<Record<string, string>> }>();
  const wakers = new Set<() => void>();
  await bus.subscribe(topic, readable(bus, { group: "g", retry: quickRetry }), (body, { message }) => {
    seen.set(message.id, { body, headers: message.headers });
    for (const wake of wakers) wake();
  });
  const arrived = (id: string) =>
    within(
      context.limits().idleMs,
      `message ${id.slice(0, 60)} arrives`,
      new Promise<void>((resolve) => {
        const check = () => {
          if (!seen.has(id)) return;
          wakers.delete(check);
          resolve();
        };
        wakers.add(check);
        check();
      }),
    );
  const publish = (body: Uint8Array, options: PublishOptions = {}) =>
    bus.publish(topic, body, { ...stated(bus), ...options });
  return { bus, topic, seen, arrived, publish };
}

/** Each header either arrives byte for byte, or the publish rejects with INVALID_MESSAGE or TOO_LARGE naming it. */
export async function headerCells(
  context: CaseContext,
  cells: readonly (readonly [string, string])[],
): Promise<{ carried: number; refused: string[] }> {
  const { bus, seen, arrived, publish } = await collector(context);
  const refused: string[] = [];
  const sent: { id: string; name: string; value: string }[] = [];
  for (const [index, [name, value]] of cells.entries()) {
    const id = `${context.run}-${index}`;
    const headers = Object.fromEntries([[name, value]]);
    try {
      await publish(Buffer.from("body"), { id, headers });
      sent.push({ id, name, value });
    } catch {
      const start = name.slice(0, 20);
      const codes = ["INVALID_MESSAGE", "TOO_LARGE"] as const;
      const error = await refuses(codes, `header ${start}`, () => publish(Buffer.from("body"), { id, headers }));
      // Too much in all is nobody's fault alone: then the limit is named instead of a header.
      const named = [start, String(context.facts.limits.headersBytes)].some((text) => error.message.includes(text));
      assert.ok(named, `header ${start}: "${error.message}" names neither the header nor the limit`);
      refused.push(name);
    }
  }
  for (const { id, name, value } of sent) {
    await arrived(id);
    const { headers = {} } = seen.get(id) ?? {};
    assert.ok(
      Object.hasOwn(headers, name),
      `header ${name.slice(0, 40)} is missing; there are ${Object.keys(headers).join(", ").slice(0, 200)}`,
    );
    assert.equal(headers[name], value, `header ${name.slice(0, 40)} was changed`);
  }
  assert.equal(Object.hasOwn(Object.prototype, "polluted"), false);
  assert.equal(({} as Record<string, unknown>)["polluted"], undefined);
  await bus.drain({ deadline: 5_000 });
  return { carried: sent.length, refused };
}
