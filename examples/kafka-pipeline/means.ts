export interface Reading {
  readonly sensor: string;
  readonly celsius: number;
}

export interface Mean {
  readonly sensor: string;
  /** Counted from 0 per sensor. */
  readonly window: number;
  readonly value: number;
}

/** Means over windows of so many readings. Right because the readings of a sensor come in order, one after another. */
export class Means {
  readonly #size: number;
  readonly #open = new Map<string, { window: number; readonly values: number[] }>();

  constructor(size: number) {
    this.#size = size;
  }

  /** The mean of the window that this reading completes. */
  add({ sensor, celsius }: Reading): Mean | undefined {
    const open = this.#open.get(sensor) ?? { window: 0, values: [] };
    this.#open.set(sensor, open);
    open.values.push(celsius);
    if (open.values.length < this.#size) return undefined;
    const value = open.values.reduce((sum, each) => sum + each, 0) / this.#size;
    this.#open.set(sensor, { window: open.window + 1, values: [] });
    return { sensor, window: open.window, value };
  }
}
