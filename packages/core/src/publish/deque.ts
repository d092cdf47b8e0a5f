/** A double-ended queue on a ring: no element moves at either end. */
export class Deque<T> {
  #ring: (T | undefined)[] = [];
  #head = 0;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  push(item: T): void {
    if (this.#size === this.#ring.length) this.#grow();
    this.#ring[(this.#head + this.#size++) & (this.#ring.length - 1)] = item;
  }

  unshift(item: T): void {
    if (this.#size === this.#ring.length) this.#grow();
    this.#head = (this.#head - 1) & (this.#ring.length - 1);
    this.#ring[this.#head] = item;
    this.#size++;
  }

  first(): T | undefined {
    return this.#ring[this.#head];
  }

  shift(): T | undefined {
    if (this.#size === 0) return undefined;
    const item = this.#ring[this.#head];
    this.#ring[this.#head] = undefined;
    this.#head = (this.#head + 1) & (this.#ring.length - 1);
    this.#size--;
    return item;
  }

  /** Drops what fails the test, and keeps the order; gives memory back after a peak. */
  keep(test: (item: T) => boolean): void {
    this.#fill([...this].filter(test));
  }

  *[Symbol.iterator](): Generator<T> {
    for (let index = 0; index < this.#size; index++) {
      // The slots from the head on, `size` of them, are filled.
      yield this.#ring[(this.#head + index) & (this.#ring.length - 1)] as T;
    }
  }

  #grow(): void {
    this.#fill([...this]);
  }

  /** n.b. The length is a power of two, with room for one more: positions are cut with a mask. */
  #fill(items: (T | undefined)[]): void {
    const size = items.length;
    this.#ring = items;
    this.#ring.length = Math.max(16, 2 ** Math.ceil(Math.log2(size + 1)));
    this.#head = 0;
    this.#size = size;
  }
}
