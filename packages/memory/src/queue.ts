import type { Entry } from "./record.ts";

/** Binary heap: the least first. */
export class Heap<T> {
  readonly #items: T[] = [];
  readonly #before: (left: T, right: T) => boolean;

  constructor(before: (left: T, right: T) => boolean) {
    this.#before = before;
  }

  get size(): number {
    return this.#items.length;
  }

  peek(): T | undefined {
    return this.#items[0];
  }

  push(item: T): void {
    const items = this.#items;
    let index = items.length;
    items.push(item);
    while (index > 0) {
      const parent = (index - 1) >> 1;
      const above = items[parent] as T; // in bounds: parent < index
      if (!this.#before(item, above)) break;
      items[index] = above;
      index = parent;
    }
    items[index] = item;
  }

  pop(): T | undefined {
    const items = this.#items;
    const first = items[0];
    const last = items.pop();
    if (items.length > 0 && last !== undefined) this.#sink(last);
    return first;
  }

  /** In no order. */
  [Symbol.iterator](): Iterator<T> {
    return this.#items.values();
  }

  #sink(item: T): void {
    const items = this.#items;
    let index = 0;
    for (;;) {
      let child = 2 * index + 1;
      if (child >= items.length) break;
      // In bounds: checked in the line above and by the left side of `&&`.
      if (child + 1 < items.length && this.#before(items[child + 1] as T, items[child] as T)) child++;
      const below = items[child] as T;
      if (!this.#before(below, item)) break;
      items[index] = below;
      index = child;
    }
    items[index] = item;
  }
}

/** First in, first out; taking costs the same however long it is. */
export class Fifo<T> {
  #items: (T | undefined)[] = [];
  #head = 0;

  get size(): number {
    return this.#items.length - this.#head;
  }

  peek(): T | undefined {
    return this.#items[this.#head];
  }

  push(item: T): void {
    this.#items.push(item);
  }

  shift(): T | undefined {
    if (this.size === 0) return undefined;
    const item = this.#items[this.#head];
    this.#items[this.#head++] = undefined;
    // Moves each item at most once per halving, so a shift stays O(1) on average.
    if (this.#head > 256 && this.#head * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#head);
      this.#head = 0;
    }
    return item;
  }

  *[Symbol.iterator](): Generator<T> {
    for (let index = this.#head; index < this.#items.length; index++) {
      yield this.#items[index] as T; // in bounds, and only taken places are undefined
    }
  }
}

interface Level {
  readonly priority: number;
  readonly arrived: Fifo<Entry>;
  /** What came back, by sequence: few. */
  readonly returned: Heap<Entry>;
}

/** Entries by priority, then by sequence. */
export class Queue {
  /** Highest priority first; usually one. */
  #levels: Level[] = [];
  size = 0;

  append(entry: Entry, priority: number): void {
    this.size++;
    this.#level(priority).arrived.push(entry);
  }

  putBack(entry: Entry, priority: number): void {
    this.size++;
    this.#level(priority).returned.push(entry);
  }

  shift(): Entry | undefined {
    if (this.size === 0) return undefined;
    for (const { arrived, returned } of this.#levels) {
      // Whatever came back left `arrived` before everything that is still in it.
      const entry = returned.pop() ?? arrived.shift();
      if (entry === undefined) continue;
      this.size--;
      return entry;
    }
    return undefined;
  }

  /** The entry that was stored first. */
  oldest(): Entry | undefined {
    let oldest: Entry | undefined;
    for (const { arrived, returned } of this.#levels) {
      for (const entry of [arrived.peek(), returned.peek()]) {
        if (entry !== undefined && (oldest === undefined || entry.sequence < oldest.sequence)) oldest = entry;
      }
    }
    return oldest;
  }

  /** All of them, in the order of arrival. */
  entries(): Entry[] {
    const entries = this.#levels.flatMap(({ arrived, returned }) => [...arrived, ...returned]);
    return entries.sort((left, right) => left.sequence - right.sequence);
  }

  /** Takes everything out, in the order of `shift`. */
  drain(): Entry[] {
    const entries: Entry[] = [];
    for (let entry = this.shift(); entry !== undefined; entry = this.shift()) entries.push(entry);
    return entries;
  }

  #level(priority: number): Level {
    for (const level of this.#levels) if (level.priority === priority) return level;
    const level: Level = {
      priority,
      arrived: new Fifo(),
      returned: new Heap((left, right) => left.sequence < right.sequence),
    };
    this.#levels.push(level);
    this.#levels.sort((left, right) => right.priority - left.priority);
    return level;
  }
}
