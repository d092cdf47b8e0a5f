import type {
  BroadcastSource,
  ConnectContext,
  Delivery,
  Receiver,
  ReceiverOptions,
  Runtime,
  SettleResult,
  Settlement,
} from "@sluice/core/driver";
import { DriverError } from "@sluice/core/driver";
import type { Link } from "./client.ts";
import { translate } from "./errors.ts";
import type { Watcher } from "./poller.ts";
import { fromEntry } from "./record.ts";
import { textOf } from "./replies.ts";
import { begin } from "./scripts/broadcast.ts";
import type { Together } from "./slots.ts";
import { settled, unlessAborted } from "./waiting.ts";

/** How far a broadcast got in a stream: the last entry, and which one that was since the stream was made. */
export interface StreamPosition {
  readonly id: string;
  readonly count: number;
}

/** One stream of a broadcast. */
interface Tap {
  readonly stream: string;
  readonly source: BroadcastSource;
  /** Where the position outlives this receiver. */
  readonly label: string;
  cursor: string;
  count: number;
  /** Unsettled ids in order, each with the one before it. */
  readonly open: Map<string, string>;
}

/** How often a broadcast that lags looks whether entries were deleted before it read them. */
const checkMs = 5_000;

export interface BroadcastParts {
  readonly link: Link;
  readonly reader: Watcher;
  readonly options: ReceiverOptions;
  readonly streams: readonly { readonly stream: string; readonly source: BroadcastSource }[];
  readonly together: Together;
  /** Up to where each broadcast instance of this process got. */
  readonly positions: Map<string, StreamPosition>;
  readonly runtime: Runtime;
  readonly report: ConnectContext["report"];
}

/** Reads streams without a group, from a position that it keeps: nothing on the server knows of it, and nothing stays behind. */
export class BroadcastReceiver implements Receiver {
  readonly lease: undefined;
  readonly closed: Promise<DriverError | undefined>;
  readonly #settled = settled<DriverError | undefined>();
  readonly #parts: BroadcastParts;
  readonly #taps: readonly Tap[];
  readonly #held = new Map<Delivery, { readonly tap: Tap; readonly id: string }>();
  readonly #buffer: Delivery[] = [];
  #bytes = 0;
  #reading: Promise<void> | undefined;
  #room: (() => void) | undefined;
  #behind = false;
  #checkAtMs = 0;
  #ended = false;
  #failed = false;

  private constructor(parts: BroadcastParts, taps: readonly Tap[]) {
    this.#parts = parts;
    this.#taps = taps;
    this.closed = this.#settled.promise;
    void parts.reader.closed.then((reason) => reason && this.#fail(reason));
    void parts.link.closed.then((reason) => reason && this.#fail(reason));
  }

  /** @throws DriverError NOT_FOUND */
  static async open(parts: BroadcastParts): Promise<BroadcastReceiver> {
    const taps = parts.streams.map(({ stream, source }): Tap => {
      const label = [stream, source.broadcast, source.instance].join("\0");
      const { id, count } = parts.positions.get(label) ?? { id: "", count: 0 };
      return { stream, source, label, cursor: id, count, open: new Map() };
    });
    await look(parts, taps);
    for (const { label, cursor, count } of taps) parts.positions.set(label, { id: cursor, count });
    return new BroadcastReceiver(parts, taps);
  }

  async receive(max: number, signal: AbortSignal): Promise<readonly Delivery[]> {
    for (;;) {
      const taken = this.#buffer.splice(0, max);
      if (taken.length > 0 || signal.aborted || this.#ended) return taken;
      this.#reading ??= this.#read(max).finally(() => (this.#reading = undefined));
      await unlessAborted(this.#reading, signal);
    }
  }

  async settle(settlements: readonly Settlement[]): Promise<readonly SettleResult[]> {
    const results = settlements.map(({ delivery }): SettleResult => (this.#forget(delivery) ? "recorded" : "lost"));
    this.#wake();
    return results;
  }

  async flush(_signal: AbortSignal): Promise<void> {
    // A position lives as long as this process: there is nothing to write.
  }

  async stop(_signal: AbortSignal): Promise<void> {
    this.#ended = true;
    this.#parts.reader.interrupt();
    this.#wake();
    await this.#reading;
  }

  async close(signal: AbortSignal): Promise<void> {
    // One that failed goes on from here when it is opened again.
    if (!this.#failed) for (const { label } of this.#taps) this.#parts.positions.delete(label);
    await unlessAborted(this.stop(signal), signal);
    this.#parts.reader.close();
    this.#settled.resolve(undefined);
  }

  async #read(max: number): Promise<void> {
    const { options, reader } = this.#parts;
    const full = this.#bytes >= options.windowBytes && this.#held.size > 0;
    const room = full ? 0 : Math.min(max, options.window - this.#held.size);
    if (room <= 0) {
      if (!this.#ended) await new Promise<void>((resolve) => (this.#room = resolve));
      return;
    }
    const count = String(Math.max(1, Math.floor(room / this.#taps.length)));
    const streams = this.#taps.map((tap) => tap.stream);
    const cursors = this.#taps.map((tap) => tap.cursor);
    try {
      const found = await reader.read("cannot read a broadcast", ["xread", "COUNT", count], streams, cursors, Infinity);
      let left = room;
      for (const tap of this.#taps) {
        const entries = found?.get(tap.stream) ?? [];
        this.#behind ||= entries.length >= Number(count);
        for (const entry of entries) {
          // What does not fit is read again: nobody took it.
          if (left-- <= 0) break;
          this.#deliver(tap, entry.id, entry.fields ?? []);
        }
      }
      await this.#check();
    } catch (error) {
      this.#fail(translate(error, "cannot read a broadcast"));
    }
  }

  /** n.b. one that is slower than `retentionMs` loses entries without a word of the server. */
  async #check(): Promise<void> {
    const nowMs = this.#parts.runtime.monotonicMs();
    if (!this.#behind || nowMs < this.#checkAtMs || this.#ended) return;
    this.#behind = false;
    this.#checkAtMs = nowMs + checkMs;
    await look(this.#parts, this.#taps);
  }

  #deliver(tap: Tap, id: string, fields: readonly Buffer[]): void {
    const origin = {
      source: tap.source,
      stream: tap.stream,
      shard: tap.stream,
      deliveries: undefined,
      fence: undefined,
    };
    const delivery = fromEntry(id, fields, origin);
    tap.open.set(id, tap.cursor);
    tap.cursor = id;
    tap.count++;
    this.#held.set(delivery, { tap, id });
    this.#bytes += delivery.body?.byteLength ?? 0;
    this.#buffer.push(delivery);
  }

  #forget(delivery: Delivery): boolean {
    const held = this.#held.get(delivery);
    if (!held) return false;
    this.#held.delete(delivery);
    this.#bytes -= delivery.body?.byteLength ?? 0;
    const { tap, id } = held;
    tap.open.delete(id);
    // Everything before the oldest unsettled one is done.
    const [oldest] = tap.open.values();
    const position = { id: oldest ?? tap.cursor, count: tap.count - tap.open.size };
    if (!this.#ended) this.#parts.positions.set(tap.label, position);
    return true;
  }

  #wake(): void {
    const room = this.#room;
    this.#room = undefined;
    room?.();
  }

  #fail(error: DriverError): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#failed = true;
    const unseen = new Set(this.#buffer.splice(0));
    const known = [...this.#held.keys()].filter((delivery) => !unseen.has(delivery));
    this.#held.clear();
    if (known.length > 0) this.#parts.options.lost(known, "disconnected");
    this.#wake();
    this.#parts.reader.close();
    this.#settled.resolve(error);
  }
}

/** Finds where each stream goes on, and tells what was missed. @throws DriverError NOT_FOUND */
async function look({ link, together, report }: BroadcastParts, taps: readonly Tap[]): Promise<void> {
  for (const part of together(taps)) {
    const streams = part.map(({ stream }) => stream);
    const positions = part.flatMap(({ cursor, count }) => [cursor, count]);
    const answer = await link.run("cannot look at the streams of a broadcast", begin, streams, positions);
    for (const [index, tap] of part.entries()) {
      const row: unknown = Array.isArray(answer) ? answer[index] : undefined;
      const [cursor, count, missed] = Array.isArray(row) ? row.map(textOf) : [];
      if (!cursor) throw missing(tap.source.topic);
      tap.cursor = cursor;
      tap.count = Number(count);
      if (Number(missed) > 0) report({ kind: "gap", source: tap.source, count: Number(missed), detail: gapText(tap) });
    }
  }
}

function gapText({ source, stream }: Tap): string {
  const { broadcast, topic } = source;
  return `redis: broadcast "${broadcast}" of topic "${topic}" was behind for longer than entries of "${stream}" are kept; some did not reach it`;
}

function missing(topic: string): DriverError {
  return new DriverError(
    "NOT_FOUND",
    `redis: topic "${topic}" does not exist; create it, or connect with provision: 'create'`,
  );
}
