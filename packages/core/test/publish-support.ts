import { memory, type Simulation, simulation } from "@sluice/memory";
import {
  type Capabilities,
  DriverError,
  type Limits,
  type SendItem,
  type Sender,
  type SendResult,
} from "../src/driver/index.ts";
import type { QueueResult } from "../src/publish/entry.ts";
import type { SendQueueEvent } from "../src/publish/send-queue-options.ts";
import { SendQueue } from "../src/publish/send-queue.ts";

export const capabilities: Capabilities = { ...memory().capabilities, transactions: "absent", retained: true };

export const limits: Limits = {
  messageBytes: 1000,
  headers: 5,
  headerNameBytes: 64,
  headersBytes: 500,
  keyBytes: 20,
  nameBytes: 100,
  delayMs: 60_000,
  delayStepMs: 1000,
  batch: { items: 100, bytes: 1_000_000, perKey: Number.POSITIVE_INFINITY, scope: "connection" },
  sendsInFlight: 1,
  receiveBatch: 10,
  receivesInFlight: 1,
  settleBatch: 100,
  sourcesPerReceiver: 10,
};

export const stored: SendResult = { outcome: "stored" };

export function refusal(
  outcome: "not-stored" | "unknown" | "unroutable" = "not-stored",
  code: ConstructorParameters<typeof DriverError>[0] = "UNAVAILABLE",
  retryable?: boolean,
): SendResult {
  const text = `fake: ${code}`;
  return { outcome, error: new DriverError(code, text, retryable === undefined ? {} : { retryable }) };
}

/** One `send` call that the test answers itself. */
export interface FakeCall {
  readonly items: readonly SendItem[];
  readonly ids: string[];
  readonly signal: AbortSignal;
  answer(...results: SendResult[]): void;
  /** The same result for every item. */
  answerAll(result?: SendResult): void;
}

export class FakeSender implements Sender {
  readonly calls: FakeCall[] = [];
  readonly closed: Promise<DriverError | undefined>;
  /** Answers at once when set. */
  script: ((item: SendItem) => SendResult) | undefined;
  fail!: (error?: DriverError) => void;

  constructor(script?: (item: SendItem) => SendResult) {
    this.script = script;
    this.closed = new Promise((resolve) => {
      this.fail = resolve;
    });
  }

  send(items: readonly SendItem[], signal: AbortSignal): Promise<readonly SendResult[]> {
    return new Promise((resolve) => {
      const call: FakeCall = {
        items,
        ids: items.map((item) => item.record.id),
        signal,
        answer: (...results) => resolve(results),
        answerAll: (result = stored) => resolve(items.map(() => result)),
      };
      this.calls.push(call);
      if (this.script) resolve(items.map(this.script));
    });
  }

  close(): Promise<void> {
    this.fail();
    return Promise.resolve();
  }
}

export interface Bench {
  readonly clock: Simulation;
  readonly queue: SendQueue;
  readonly sender: FakeSender;
  readonly events: SendQueueEvent[];
  /** Ids in the order in which they settled, with what came of them. */
  readonly settled: { id: string; result: QueueResult }[];
  /** Enqueues by id; a key gives it a lane. */
  readonly put: (id: string, options?: PutOptions) => void;
  /** `stored`, `unroutable`, or `CODE outcome` of the error. */
  readonly fate: (id: string) => string | undefined;
  readonly ids: () => string[][];
}

interface PutOptions {
  key?: string;
  topic?: string;
  ms?: number;
  bytes?: number;
  signal?: AbortSignal;
  internal?: boolean;
}

export interface BenchOptions {
  sender?: () => Promise<Sender>;
  script?: (item: SendItem) => SendResult;
  limits?: Partial<Omit<Limits, "batch">> & { batch?: Partial<Limits["batch"]> };
  capabilities?: Partial<Capabilities>;
  buffer?: { messages?: number; bytes?: number };
  seed?: number;
}

export function bench(options: BenchOptions = {}): Bench {
  const clock = simulation({ seed: options.seed ?? 1 });
  const sender = new FakeSender(options.script);
  const events: SendQueueEvent[] = [];
  const settled: Bench["settled"] = [];
  const known: Limits = { ...limits, ...options.limits, batch: { ...limits.batch, ...options.limits?.batch } };
  const able: Capabilities = { ...capabilities, ...options.capabilities };
  const queue = new SendQueue({
    driver: "fake",
    runtime: clock.runtime,
    limits: () => known,
    capabilities: () => able,
    sender: options.sender ?? (() => Promise.resolve(sender)),
    buffer: { messages: 10_000, bytes: 64 * 1024 * 1024, ...options.buffer },
    report: (event) => events.push(event),
  });
  return {
    clock,
    queue,
    sender,
    events,
    settled,
    put(id, { key, topic = "orders", ms = 30_000, bytes = 10, signal, internal } = {}) {
      queue.enqueue(item(id, topic, bytes), {
        orderedKey: key,
        deadlineMs: clock.runtime.monotonicMs() + ms,
        signal,
        internal: internal ?? false,
        onSettled: (result) => settled.push({ id, result }),
      });
    },
    fate(id) {
      const result = settled.find((each) => each.id === id)?.result;
      if (!result) return undefined;
      return result.outcome === "failed" ? `${result.error.code} ${result.error.outcome}` : result.outcome;
    },
    ids: () => sender.calls.map((call) => call.ids),
  };
}

export function item(id: string, topic = "orders", bytes = 10): SendItem {
  return {
    to: { topic },
    record: { id, dedupId: `${id}/0`, key: null, body: new Uint8Array(bytes), headers: Object.create(null), time: 0 },
  };
}
