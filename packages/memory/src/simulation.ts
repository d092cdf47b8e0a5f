import type { Runtime } from "@sluice/core/driver";
import { Heap } from "./queue.ts";

export interface SimulationOptions {
  /**
   * Decides all random numbers and ids.
   * @default 1
   */
  readonly seed?: number;
  /**
   * The wall clock at the beginning, in milliseconds since 1970.
   * @default Date.UTC(2026, 0, 1)
   */
  readonly start?: number;
}

/** A clock that stands still until it is told to move. Give its `runtime` to `connect`. */
export interface Simulation {
  readonly runtime: Runtime;
  /** The wall clock, in milliseconds since 1970. */
  now(): number;
  /** Moves the clock by `ms`; timers ring on the way, in the order of their times, each followed by all that it causes. */
  advance(ms: number): Promise<void>;
  /** Runs what is ready now until nothing is, without moving the clock. Work outside the runtime (files, sockets) is not seen. */
  settle(): Promise<void>;
  /** Moves the clock from timer to timer until `done` holds. Rejects when it does not within `ms` (default 3_600_000). */
  until(done: () => boolean, ms?: number): Promise<void>;
  /** Moves the clock until the promise settles, and gives its value or its error. Rejects when it does not within `ms`. */
  run<T>(work: Promise<T>, ms?: number): Promise<T>;
  /** How many timers wait: 0 after everything was closed. */
  readonly timers: number;
}

interface Timer {
  readonly atMs: number;
  readonly order: number;
  run: (() => void) | undefined;
}

const hourMs = 3_600_000;

/** Taken when the module loads: a test runner's fake timers replace the global one. */
const turn = setImmediate;

/** Turns of the event loop without a pause after which work is taken for an endless loop. */
const longestRun = 1_000_000;

/**
 * Time, chance and background work under control, for tests: a delay of a day takes no time, and the same seed gives the same
 * run. Only `defer` runs by itself, so `await bus.publish(…)` needs no help; whatever waits for a time needs `advance`.
 */
export function simulation(options: SimulationOptions = {}): Simulation {
  return new SimulatedClock(options.seed ?? 1, options.start ?? Date.UTC(2026, 0, 1));
}

class SimulatedClock implements Simulation {
  readonly runtime: Runtime;
  readonly #start: number;
  #timers = timerHeap();
  #elapsedMs = 0;
  #order = 0;
  #deferred = 0;
  #waiting = 0;
  /** One mover at a time: a second `advance` begins when the first one ended. */
  #moving: Promise<unknown> = Promise.resolve();

  constructor(seed: number, start: number) {
    this.#start = start;
    const random = generator(seed);
    this.runtime = {
      wallMs: () => Math.floor(this.now()),
      monotonicMs: () => this.#elapsedMs,
      random,
      id: () => uuid(random),
      timer: (ms, run) => this.#timer(ms, run),
      defer: (run) => this.#defer(run),
    };
  }

  get timers(): number {
    return this.#waiting;
  }

  now(): number {
    return this.#start + this.#elapsedMs;
  }

  advance(ms: number): Promise<void> {
    return this.#move(async () => {
      const endMs = this.#elapsedMs + ms;
      await this.#settle();
      while (this.#ringNext(endMs)) await this.#settle();
      this.#elapsedMs = Math.max(this.#elapsedMs, endMs);
    });
  }

  settle(): Promise<void> {
    return this.#move(() => this.#settle());
  }

  until(done: () => boolean, ms: number = hourMs): Promise<void> {
    return this.#move(async () => {
      const endMs = this.#elapsedMs + ms;
      await this.#settle();
      while (!done()) {
        if (!this.#ringNext(endMs)) {
          throw new Error(
            `simulation: nothing left to happen within ${ms} ms makes it true; look for a timer that was never set`,
          );
        }
        await this.#settle();
      }
    });
  }

  async run<T>(work: Promise<T>, ms?: number): Promise<T> {
    let settled = false;
    const mark = () => {
      settled = true;
    };
    work.then(mark, mark);
    await this.until(() => settled, ms);
    return work;
  }

  #move(step: () => Promise<void>): Promise<void> {
    const moved = this.#moving.then(step);
    this.#moving = moved.catch(() => undefined);
    return moved;
  }

  /** One turn of the real event loop drains all microtasks; two in a row without deferred work mean that nothing is left. */
  async #settle(): Promise<void> {
    for (let quiet = 0, turns = 0; quiet < 2; quiet++) {
      if (++turns > longestRun)
        throw new Error("simulation: never comes to rest; look for a loop that defers without waiting");
      await new Promise<void>((resolve) => {
        turn(resolve);
      });
      if (this.#deferred > 0 || this.#ringNext(this.#elapsedMs)) quiet = -1;
    }
  }

  /** Runs the next timer that is due by `endMs`, at its own time. */
  #ringNext(endMs: number): boolean {
    for (let timer = this.#timers.peek(); timer !== undefined; timer = this.#timers.peek()) {
      if (timer.run !== undefined && timer.atMs > endMs) return false;
      this.#timers.pop();
      const { run } = timer;
      if (run === undefined) continue;
      timer.run = undefined;
      this.#waiting--;
      this.#elapsedMs = Math.max(this.#elapsedMs, timer.atMs);
      run();
      return true;
    }
    return false;
  }

  #timer(ms: number, run: () => void): () => void {
    const timer: Timer = { atMs: this.#elapsedMs + Math.max(0, ms), order: ++this.#order, run };
    this.#timers.push(timer);
    this.#waiting++;
    return () => {
      if (timer.run === undefined) return;
      timer.run = undefined;
      this.#waiting--;
      this.#forgetCancelled();
    };
  }

  /** Most timers are cancelled long before their time; without this they would stay until the clock gets there. */
  #forgetCancelled(): void {
    if (this.#timers.size < 64 || this.#timers.size < 2 * this.#waiting) return;
    const live = [...this.#timers].filter(({ run }) => run !== undefined);
    this.#timers = timerHeap();
    for (const timer of live) this.#timers.push(timer);
  }

  #defer(run: () => void): void {
    this.#deferred++;
    turn(() => {
      this.#deferred--;
      run();
    });
  }
}

function timerHeap(): Heap<Timer> {
  return new Heap((left, right) => (left.atMs === right.atMs ? left.order < right.order : left.atMs < right.atMs));
}

/** mulberry32: small, fast, and the same everywhere. */
function generator(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** In the form of a UUID of version 4. */
function uuid(random: () => number): string {
  const digits = Array.from({ length: 32 }, () => Math.floor(random() * 16));
  digits[12] = 4;
  digits[16] = 8 + ((digits[16] ?? 0) % 4);
  const text = digits.map((digit) => digit.toString(16)).join("");
  return [text.slice(0, 8), text.slice(8, 12), text.slice(12, 16), text.slice(16, 20), text.slice(20)].join("-");
}
