import type {
  BroadcastSource,
  ConnectContext,
  Delivery,
  Receiver,
  ReceiverOptions,
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

/** One stream of a broadcast. */
interface Tap {
  readonly stream: string;
  readonly source: BroadcastSource;
  /** Where the position outlives this receiver. */
  readonly label: string;
  cursor: string;
  /** Unsettled ids in order, each with the one before it. */
  readonly open: Map<string, string>;
}

export interface BroadcastParts {
  readonly link: Link;
  readonly reader: Watcher;
  readonly options: ReceiverOptions;
  readonly streams: readonly { readonly stream: string; readonly source: BroadcastSource }[];
  readonly together: Together;
  /** Up to where each broadcast instance of this process got. */
  readonly positions: Map<string, string>;
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
    const taps: Tap[] = [];
    for (const part of parts.together(parts.streams)) {
      const labels = part.map(({ stream, source }) => [stream, source.broadcast, source.instance].join("\0"));
      const answer = await parts.link.run(
        "cannot begin a broadcast",
        begin,
        part.map(({ stream }) => stream),
        labels.map((label) => parts.positions.get(label) ?? ""),
      );
      for (const [index, { stream, source }] of part.entries()) {
        const [cursor, gap] = startOf(answer, index);
        if (cursor === "") throw missing(source.topic);
        if (gap) parts.report({ kind: "gap", source, detail: gapText(source, stream) });
        const label = labels[index] ?? "";
        parts.positions.set(label, cursor);
        taps.push({ stream, source, label, cursor, open: new Map() });
      }
    }
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
        for (const entry of found?.get(tap.stream) ?? []) {
          // What does not fit is read again: nobody took it.
          if (left-- <= 0) break;
          this.#deliver(tap, entry.id, entry.fields ?? []);
        }
      }
    } catch (error) {
      this.#fail(translate(error, "cannot read a broadcast"));
    }
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
    if (!this.#ended) this.#parts.positions.set(tap.label, oldest ?? tap.cursor);
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

function startOf(answer: unknown, index: number): readonly [cursor: string, gap: boolean] {
  const row: unknown = Array.isArray(answer) ? answer[index] : undefined;
  const [cursor, gap] = Array.isArray(row) ? row : [];
  return [textOf(cursor), textOf(gap) === "1"];
}

function gapText({ broadcast, topic }: BroadcastSource, stream: string): string {
  return `redis: broadcast "${broadcast}" of topic "${topic}" was away longer than entries of "${stream}" are kept; some did not reach it`;
}

function missing(topic: string): DriverError {
  return new DriverError(
    "NOT_FOUND",
    `redis: topic "${topic}" does not exist; create it, or connect with provision: 'create'`,
  );
}
