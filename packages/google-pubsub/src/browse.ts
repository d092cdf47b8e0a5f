import { type DeadLetterSource, type Delivery, type Runtime, sleep } from "@sluice/core/driver";
import { settleIds } from "./acks.ts";
import type { Calls } from "./channels.ts";
import { methods } from "./methods.ts";
import { shortName } from "./names.ts";
import { fromNative, publishedMs } from "./record.ts";

export interface BrowseParts {
  readonly channels: Calls;
  readonly runtime: Runtime;
  readonly signal: AbortSignal;
  readonly source: DeadLetterSource;
  readonly subscription: string;
}

export interface Page {
  readonly deliveries: readonly Delivery[];
  /** Place of the last one of this page. */
  readonly next: string | undefined;
}

/** What lies deeper is not listed. */
const deepest = 10_000;
const mostPerPull = 1_000;
const emptyPulls = 2;
const emptyPauseMs = 50;

/**
 * Looks at waiting dead letters and takes nothing: pulls all of them, keeps a page in the order in which they were published, and
 * gives all back at once. Meanwhile nobody else gets them. Dead letters have no delivery limit, so that looking does no harm.
 */
export async function browse(parts: BrowseParts, after: string | undefined, max: number): Promise<Page> {
  const { subscription } = parts;
  const found = new Map<string, Delivery>();
  const ackIds: string[] = [];
  try {
    for (let empty = 0; empty < emptyPulls && ackIds.length < deepest && !parts.signal.aborted;) {
      const received = await pull(parts);
      empty = received.length === 0 ? empty + 1 : 0;
      for (const message of received) {
        ackIds.push(message.ackId ?? "");
        const delivery = fromNative(message, parts.source, subscription);
        found.set(placeOf(message), delivery);
      }
      if (received.length === 0) await sleep(parts.runtime, emptyPauseMs, parts.signal);
    }
  } finally {
    await settleIds(parts, subscription, ackIds, 0);
  }
  const places = [...found.keys()].filter((place) => after === undefined || place > after).toSorted();
  const page = places.slice(0, max);
  return {
    deliveries: page.flatMap((place) => found.get(place) ?? []),
    next: places.length > page.length ? page.at(-1) : undefined,
  };
}

async function pull({ channels, signal, subscription }: BrowseParts) {
  const doing = `cannot read "${shortName(subscription)}"`;
  const request = { subscription, maxMessages: mostPerPull, returnImmediately: true };
  return (await channels.call(methods.pull, request, { doing, signal })).receivedMessages;
}

/** Sorts as text in the order of publication. */
function placeOf(received: Parameters<typeof publishedMs>[0]): string {
  const id = received.message?.messageId ?? "";
  return `${String(publishedMs(received)).padStart(15, "0")} ${id.padStart(20, "0")}`;
}
