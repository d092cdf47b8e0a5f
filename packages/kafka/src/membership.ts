import { DriverError, type Runtime } from "@sluice/core/driver";
import type { KafkaConfig } from "./options.ts";

/** How long a rebalance waits for records that run, at most: the whole group waits with us. */
const handOverMs = 2_000;

/** What we know of our place in the group: which epoch it is, whether a join is under way, how old the broker's last word is. */
export class Membership {
  /** Grows with every assignment. */
  epoch = 0;
  joining = true;
  readonly #runtime: Runtime;
  readonly #config: KafkaConfig;
  readonly #lost: (error: DriverError) => void;
  /** When the broker last said that we are a member, monotonic. */
  #beat: number;
  #handOver: { readonly over: Promise<void>; end(): void } | undefined;
  #cancelWatch: (() => void) | undefined;

  constructor(runtime: Runtime, config: KafkaConfig, lost: (error: DriverError) => void) {
    this.#runtime = runtime;
    this.#config = config;
    this.#lost = lost;
    this.#beat = runtime.monotonicMs();
  }

  /** Whether the broker has said so lately; after half a session without a word others may have our partitions. */
  get sure(): boolean {
    return this.#runtime.monotonicMs() - this.#beat <= this.#config.sessionTimeout / 2;
  }

  /** A rebalance is coming: until we rejoin, what runs may end, so that the next holder does not run it again. */
  announced(): void {
    this.joining = true;
    const { promise: over, resolve } = Promise.withResolvers<void>();
    const cancel = this.#runtime.timer(Math.min(handOverMs, this.#config.sessionTimeout / 3), resolve);
    const end = (): void => {
      cancel();
      resolve();
    };
    this.#handOver = { over, end };
  }

  /** Nothing runs any more, or nobody waits for it. */
  settled(): void {
    this.#handOver?.end();
  }

  /** Resolves when what runs has ended, or has had its time. */
  async handedOver(): Promise<void> {
    this.joining = true;
    await this.#handOver?.over;
    this.#handOver = undefined;
  }

  /** Resolves to the new epoch. */
  joined(): number {
    this.joining = false;
    this.alive();
    this.epoch += 1;
    return this.epoch;
  }

  alive(): void {
    this.#beat = this.#runtime.monotonicMs();
  }

  /** A peer that vanished without a word leaves kafkajs waiting for minutes; the broker has given our partitions away by then. */
  watch(): void {
    const { sessionTimeout, rebalanceTimeout } = this.#config;
    const patience = 2 * sessionTimeout + (this.joining ? rebalanceTimeout : 0);
    if (this.#runtime.monotonicMs() - this.#beat > patience) {
      return this.#lost(new DriverError("UNAVAILABLE", `kafka: no heartbeat was answered for ${patience} ms`));
    }
    this.#cancelWatch = this.#runtime.timer(sessionTimeout / 2, () => this.watch(), { background: true });
  }

  end(): void {
    this.settled();
    this.#cancelWatch?.();
  }
}
