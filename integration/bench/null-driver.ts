import {
  type Capabilities,
  type Connection,
  type Delivery,
  type Driver,
  emptyHeaders,
  type Limits,
  type Receiver,
  type Sender,
  type Source,
} from "@sluice/core/driver";
import { memory } from "@sluice/memory";

/**
 * A driver that does nothing, so that what is measured is core: every send is stored at once, every receive hands out records
 * that were made before. A fake on purpose.
 */

const capabilities: Capabilities = {
  ...memory().capabilities,
  commit: "absent",
  transactions: "absent",
  browse: "absent",
  retained: true,
};

const limits: Limits = {
  messageBytes: 1_000_000,
  headers: 100,
  headerNameBytes: 255,
  headersBytes: 60_000,
  keyBytes: 255,
  nameBytes: 255,
  delayMs: 1_000_000,
  delayStepMs: 1,
  batch: { items: 1000, bytes: 1_000_000, perKey: Number.POSITIVE_INFINITY, scope: "connection" },
  sendsInFlight: 1,
  receiveBatch: 256,
  receivesInFlight: 1,
  settleBatch: 256,
  sourcesPerReceiver: 100,
};

export interface Feed {
  /** How many records a receiver hands out in all. */
  readonly messages: number;
  readonly body: Uint8Array;
  readonly keys: readonly string[] | undefined;
}

export function nullDriver(feed: Feed): Driver {
  return {
    name: "null",
    system: "null",
    capabilities,
    topology: () => [],
    connect: ({ runtime }) => Promise.resolve(connection(feed, (run) => runtime.defer(run))),
  };
}

function connection(feed: Feed, defer: (run: () => void) => void): Connection {
  const open = new Promise<undefined>(() => {});
  const turn = () => new Promise<void>((resolve) => defer(resolve));
  return {
    capabilities,
    limits,
    server: "null 1",
    native: undefined,
    closed: open,
    provision: () => Promise.resolve([]),
    sender: () => Promise.resolve(sender(open, turn)),
    receiver: ([source]) => Promise.resolve(receiver(feed, source as Source, open, turn)),
    backlog: () => Promise.resolve({}),
    ping: () => Promise.resolve(),
    close: () => Promise.resolve(),
  };
}

function sender(closed: Promise<undefined>, turn: () => Promise<void>): Sender {
  const stored = { outcome: "stored" } as const;
  return {
    closed,
    async send(items) {
      await turn();
      return items.map(() => stored);
    },
    close: () => Promise.resolve(),
  };
}

function receiver(feed: Feed, source: Source, closed: Promise<undefined>, turn: () => Promise<void>): Receiver {
  let next = 0;
  return {
    lease: undefined,
    closed,
    async receive(max, signal) {
      await turn();
      const deliveries: Delivery[] = [];
      while (next < feed.messages && deliveries.length < max) deliveries.push(delivery(feed, source, next++));
      if (deliveries.length === 0 && !signal.aborted) {
        await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
      }
      return deliveries;
    },
    settle: (settlements) => Promise.resolve(settlements.map(() => "recorded" as const)),
    flush: () => Promise.resolve(),
    stop: () => Promise.resolve(),
    close: () => Promise.resolve(),
  };
}

const headers = Object.assign(emptyHeaders(), { "content-type": "application/json" });

function delivery(feed: Feed, source: Source, index: number): Delivery {
  return {
    id: `m-${index}`,
    key: feed.keys?.[index % feed.keys.length] ?? null,
    body: feed.body,
    headers,
    time: 1_700_000_000_000,
    source,
    shard: "0",
    deliveries: 1,
    fence: undefined,
    native: undefined,
  };
}
