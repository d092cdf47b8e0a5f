import type { Capabilities, Destination, Limits } from "../driver/index.ts";
import { Deque } from "./deque.ts";
import type { Entry } from "./entry.ts";

/** Items of one ordered key to one destination. */
export interface Lane {
  readonly key: string;
  /** Where it is listed. */
  readonly lanes: Map<string, Lane>;
  /** Entries that are ready, in a call or parked: never above the width. */
  admitted: number;
  inFlight: number;
  /** Failed, to be tried again, and later ones that were ready: while there are any, nothing of the lane is sent. */
  parked: Entry[];
  /** The back-off is over: opens as soon as none is in a call. */
  due: boolean;
  /** Made when the first one has to wait: most lanes have one entry, and live for one call. */
  waiting: Deque<Entry> | undefined;
}

/** Nothing parked: shared by all lanes, and never written to. */
const none: Entry[] = [];

/** What one call may span: everything, or one destination. */
export interface Bin {
  readonly ready: Deque<Entry>;
  queued: boolean;
}

/**
 * Which items go into the next call. Keeps the order of each ordered key over failures and retries: a lane with a failed item is
 * closed, and opens after the back-off, when none of its items is in a call any more, with the failed ones first.
 */
export class SendLanes {
  readonly #limits: () => Limits;
  readonly #capabilities: () => Capabilities;
  /** By destination, then by key: joining the two to one name would cost more than a second look. */
  readonly #lanes = new Map<string, Map<string, Lane>>();
  readonly #closed = new Set<Lane>();
  readonly #bins = new Map<string, Bin>();
  /** Bins with something ready, each once: they take turns. */
  readonly #turns = new Deque<Bin>();
  #parked: Entry[] = [];
  #sequence = 0;
  #ready = 0;

  constructor(limits: () => Limits, capabilities: () => Capabilities) {
    this.#limits = limits;
    this.#capabilities = capabilities;
  }

  /** Entries that could go into a call now, about: closed lanes and settled entries are found out when they are taken. */
  get ready(): number {
    return this.#ready;
  }

  add(entry: Entry): void {
    const { item, options } = entry;
    entry.sequence = this.#sequence++;
    entry.bin = this.#binOf(item.to);
    if (options.orderedKey === undefined) return this.#push(entry, entry.bin);
    const lane = this.#laneOf(item.to, options.orderedKey);
    entry.lane = lane;
    if (lane.waiting?.size || lane.admitted >= this.#width()) {
      lane.waiting ??= new Deque();
      lane.waiting.push(entry);
      return;
    }
    lane.admitted++;
    this.#push(entry, entry.bin);
  }

  /** The next call's entries, in order; empty when nothing can be sent. They count as in flight until `ended`. */
  take(): Entry[] {
    for (;;) {
      const bin = this.#turns.shift();
      if (!bin) return [];
      bin.queued = false;
      const entries = this.#fill(bin);
      if (bin.ready.size > 0) this.#offer(bin);
      if (entries.length > 0) return entries;
    }
  }

  /** Its call failed: it is tried again after `reopen`, and its lane is closed until then. */
  park(entry: Entry): void {
    if (!entry.lane) this.#parked.push(entry);
    else this.#close(entry.lane, entry, false);
  }

  /** It is settled: the next one of its lane may come. */
  leave(entry: Entry): void {
    const { lane } = entry;
    if (!lane) return;
    lane.admitted--;
    this.#admit(lane);
    if (lane.admitted === 0) lane.lanes.delete(lane.key);
  }

  /** Its call is over; to be called after `park` or `leave`. */
  ended(entry: Entry): void {
    const { lane } = entry;
    if (!lane) return;
    lane.inFlight--;
    if (lane.due && lane.inFlight === 0) this.#open(lane);
  }

  /** The back-off is over. */
  reopen(): void {
    const parked = this.#parked;
    this.#parked = [];
    this.#unshift(parked);
    for (const lane of this.#closed) {
      if (lane.inFlight === 0) this.#open(lane);
      else lane.due = true;
    }
  }

  /** Forgets settled entries, so that they hold no memory while nothing can be sent. */
  purge(): void {
    const gone: Entry[] = [];
    const live = (entry: Entry): boolean => {
      if (!entry.settled) return true;
      gone.push(entry);
      return false;
    };
    for (const bin of this.#bins.values()) bin.ready.keep(live);
    this.#ready -= gone.length;
    this.#parked = this.#parked.filter(live);
    for (const lanes of this.#lanes.values()) {
      for (const lane of lanes.values()) {
        if (lane.parked.length > 0) lane.parked = lane.parked.filter(live);
        lane.waiting?.keep((entry) => !entry.settled);
      }
    }
    for (const entry of gone) this.leave(entry);
  }

  #fill(bin: Bin): Entry[] {
    const { items, bytes } = this.#limits().batch;
    const entries: Entry[] = [];
    let total = 0;
    for (let entry = bin.ready.first(); entry && entries.length < items; entry = bin.ready.first()) {
      const { lane } = entry;
      const closed = lane !== undefined && lane.parked.length > 0;
      // One that is alone above the bytes goes alone.
      if (!entry.settled && !closed && entries.length > 0 && total + entry.bytes > bytes) break;
      bin.ready.shift();
      this.#ready--;
      if (entry.settled) this.leave(entry);
      else if (closed) this.#close(lane, entry, lane.due);
      else {
        entries.push(entry);
        total += entry.bytes;
        if (lane) lane.inFlight++;
      }
    }
    return entries;
  }

  #close(lane: Lane, entry: Entry, due: boolean): void {
    if (lane.parked === none) lane.parked = [];
    lane.parked.push(entry);
    lane.due = due;
    this.#closed.add(lane);
  }

  #open(lane: Lane): void {
    const { parked } = lane;
    lane.parked = none;
    lane.due = false;
    this.#closed.delete(lane);
    // Calls that overlapped end in any order.
    this.#unshift(parked.sort((left, right) => left.sequence - right.sequence));
  }

  /** Puts entries before all that are ready, in their order. */
  #unshift(entries: readonly Entry[]): void {
    for (const entry of entries.toReversed()) {
      if (entry.settled || !entry.bin) continue;
      entry.bin.ready.unshift(entry);
      this.#ready++;
      this.#offer(entry.bin);
    }
    for (const entry of entries) if (entry.settled) this.leave(entry);
  }

  #admit(lane: Lane): void {
    if (!lane.waiting) return;
    const width = this.#width();
    while (lane.admitted < width) {
      const entry = lane.waiting.shift();
      if (!entry) return;
      if (entry.settled || !entry.bin) continue;
      lane.admitted++;
      this.#push(entry, entry.bin);
    }
  }

  /** How many of one ordered key may be outstanding. */
  #width(): number {
    return this.#capabilities().sendOrder === "ordered" ? this.#limits().batch.perKey : 1;
  }

  #push(entry: Entry, bin: Bin): void {
    bin.ready.push(entry);
    this.#ready++;
    this.#offer(bin);
  }

  #offer(bin: Bin): void {
    if (bin.queued) return;
    bin.queued = true;
    this.#turns.push(bin);
  }

  #laneOf(to: Destination, key: string): Lane {
    const destination = destinationName(to);
    let lanes = this.#lanes.get(destination);
    if (!lanes) this.#lanes.set(destination, (lanes = new Map()));
    let lane = lanes.get(key);
    if (!lane) {
      lane = { key, lanes, admitted: 0, inFlight: 0, parked: none, due: false, waiting: undefined };
      lanes.set(key, lane);
    }
    return lane;
  }

  #binOf(to: Destination): Bin {
    const name = this.#limits().batch.scope === "connection" ? "" : destinationName(to);
    let bin = this.#bins.get(name);
    if (!bin) {
      bin = { ready: new Deque(), queued: false };
      this.#bins.set(name, bin);
    }
    return bin;
  }
}

/** n.b. Names cannot hold a line break, so no two destinations share one. */
function destinationName(to: Destination): string {
  if (to.group === undefined) return to.topic;
  return `${to.topic}\n${to.group}${to.deadLetter ? "\ndead letters" : ""}`;
}
