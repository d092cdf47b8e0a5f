import type { Delivery, Receiver, Runtime } from "../driver/index.ts";

/** Renews the leases of everything held, at a third of the lease, in one call. */
export class LeaseKeeper {
  readonly #runtime: Runtime;
  readonly #receiver: Receiver;
  readonly #held: () => readonly Delivery[];
  readonly #lost: (deliveries: readonly Delivery[]) => void;
  #cancel: (() => void) | undefined;
  #stopped = false;

  constructor(
    runtime: Runtime,
    receiver: Receiver,
    held: () => readonly Delivery[],
    lost: (deliveries: readonly Delivery[]) => void,
  ) {
    this.#runtime = runtime;
    this.#receiver = receiver;
    this.#held = held;
    this.#lost = lost;
    if (receiver.lease?.renew && receiver.extend) this.#schedule(receiver.lease.ms);
  }

  #schedule(leaseMs: number): void {
    this.#cancel = this.#runtime.timer(leaseMs / 3, () => void this.#renew(leaseMs), { background: true });
  }

  async #renew(leaseMs: number): Promise<void> {
    const deliveries = this.#held();
    // The next one does not wait for the answer to this one: a call that hangs would cost all leases.
    this.#schedule(leaseMs);
    try {
      const lost = deliveries.length > 0 ? await this.#receiver.extend?.(deliveries, leaseMs) : undefined;
      if (lost && lost.length > 0 && !this.#stopped) this.#lost(lost);
    } catch {
      // A receiver that fails says so through `closed`; a single failed renewal has two more thirds to succeed.
    }
  }

  stop(): void {
    this.#stopped = true;
    this.#cancel?.();
  }
}
