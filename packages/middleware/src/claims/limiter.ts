/** Most transfers at a time, and most bytes of them; one alone may be larger. First come, first served. */
export class Limiter {
  readonly #most: number;
  readonly #mostBytes: number;
  readonly #waiting: { readonly bytes: number; readonly start: () => void }[] = [];
  #running = 0;
  #bytes = 0;

  constructor(most: number, mostBytes: number) {
    this.#most = most;
    this.#mostBytes = mostBytes;
  }

  async run<T>(bytes: number, work: () => Promise<T>): Promise<T> {
    if (this.#waiting.length > 0 || !this.#fits(bytes)) {
      await new Promise<void>((start) => this.#waiting.push({ bytes, start }));
    } else this.#take(bytes);
    try {
      return await work();
    } finally {
      this.#running--;
      this.#bytes -= bytes;
      this.#startNext();
    }
  }

  /** n.b. Taken for the one that starts: it runs a turn later, and nobody may come between. */
  #startNext(): void {
    for (let next = this.#waiting[0]; next && this.#fits(next.bytes); next = this.#waiting[0]) {
      this.#waiting.shift();
      this.#take(next.bytes);
      next.start();
    }
  }

  #fits(bytes: number): boolean {
    return this.#running === 0 || (this.#running < this.#most && this.#bytes + bytes <= this.#mostBytes);
  }

  #take(bytes: number): void {
    this.#running++;
    this.#bytes += bytes;
  }
}
