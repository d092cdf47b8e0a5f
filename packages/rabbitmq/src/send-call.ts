import { DriverError, type SendResult } from "@sluice/core/driver";
import { settled } from "./waiting.ts";

/** Results of one `send`, filled in any order. */
export class SendCall {
  readonly results: Promise<readonly SendResult[]>;
  readonly #results: (SendResult | undefined)[];
  /** Those that are on the wire, in their places. */
  readonly #onWire: (Publication | undefined)[];
  readonly #settled = settled<readonly SendResult[]>();
  #left: number;

  constructor(count: number) {
    this.results = this.#settled.promise;
    this.#results = Array.from({ length: count });
    this.#onWire = Array.from({ length: count });
    this.#left = count;
    if (count === 0) this.#settled.resolve([]);
  }

  sent(publication: Publication): void {
    this.#onWire[publication.index] = publication;
  }

  settle(index: number, result: SendResult): void {
    if (this.#results[index] !== undefined) return;
    this.#results[index] = result;
    if (--this.#left === 0) this.#settled.resolve(this.#results.filter((each) => each !== undefined));
  }

  /** What is on the wire may be stored or not; what is not yet there is settled where it waits. */
  abort(cause: unknown, abandoned: (publication: Publication) => void): void {
    const error = new DriverError("UNAVAILABLE", "rabbitmq: the broker did not confirm in time", { cause });
    for (const [index, publication] of this.#onWire.entries()) {
      if (!publication || this.#results[index] !== undefined) continue;
      abandoned(publication);
      this.settle(index, { outcome: "unknown", error });
    }
  }
}

/** One record on the wire, until its confirm. */
export interface Publication {
  readonly call: SendCall;
  readonly index: number;
  readonly exchange: string;
  readonly key: string;
  readonly bytes: number;
  /** The broker sent it back: nobody keeps it. Comes before the confirm. */
  returned: boolean;
  /** Its call gave up on it. */
  abandoned: boolean;
}
