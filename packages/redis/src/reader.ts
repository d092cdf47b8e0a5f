import type { DriverError, Runtime } from "@sluice/core/driver";
import type { Link } from "./client.ts";
import type { Watcher } from "./poller.ts";
import { type Entry, numberOf, streamsOf } from "./replies.ts";

/** How soon an interruption is tried again: the read may not have reached the server yet. */
const againMs = 20;

export interface ReaderParts {
  /** A socket of its own: a blocked read holds up everything behind it. */
  readonly link: Link;
  /** Interrupts the other. */
  readonly commands: Link;
  readonly runtime: Runtime;
  /** Longest time of one read, and how long its answer may be late. */
  readonly blockMs: number;
  readonly graceMs: number;
}

/** Blocking reads, one at a time, which can be interrupted and are given up when the server falls silent. */
export class Reader implements Watcher {
  readonly closed: Promise<DriverError | undefined>;
  readonly #parts: ReaderParts;
  readonly #id: number;
  #blocked = false;
  #reads = 0;

  private constructor(parts: ReaderParts, id: number) {
    this.#parts = parts;
    this.#id = id;
    this.closed = parts.link.closed;
  }

  static async open(parts: ReaderParts): Promise<Reader> {
    const id = await parts.link.ask("cannot open a reader", (client) => client.callBuffer("client", ["ID"]));
    return new Reader(parts, numberOf(id));
  }

  /** XREAD or XREADGROUP with the words before and after BLOCK. `undefined`: nothing came. */
  async read(
    doing: string,
    command: readonly string[],
    streams: readonly string[],
    ids: readonly string[],
    ms: number,
  ): Promise<ReadonlyMap<string, readonly Entry[]> | undefined> {
    const [name = "xread", ...words] = command;
    // n.b. BLOCK 0 waits for ever.
    const block = Math.max(1, Math.min(Math.ceil(ms), this.#parts.blockMs));
    this.#blocked = true;
    this.#reads++;
    try {
      const answer = await this.#parts.link.ask(
        doing,
        (client) => client.callBuffer(name, [...words, "BLOCK", String(block), "STREAMS", ...streams, ...ids]),
        { ms: block + this.#parts.graceMs },
      );
      return streamsOf(answer);
    } finally {
      this.#blocked = false;
    }
  }

  /** Ends the read that is under way, with what it has: nothing is lost by it. */
  interrupt(read: number = this.#reads): void {
    if (!this.#blocked || read !== this.#reads || !this.#parts.commands.alive) return;
    const { commands, runtime } = this.#parts;
    commands
      .ask("cannot interrupt a read", (client) => client.callBuffer("client", ["UNBLOCK", String(this.#id), "TIMEOUT"]))
      .then(
        () => void runtime.timer(againMs, () => this.interrupt(read), { background: true }),
        () => undefined, // The connection is gone: so is the read.
      );
  }

  close(): void {
    this.#parts.link.destroy();
  }
}
