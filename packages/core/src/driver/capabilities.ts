/** `native`: the broker does it. `emulated`: the driver or core does it, with fault cases required. `absent`: refused at the call. */
export type Support = "native" | "emulated" | "absent";

/** `forwarder`: the driver has waiting places and core runs the reader that moves due records on. */
export type DelaySupport = Support | "forwarder";

/**
 * What a driver keeps on every version it supports: the floor. The literal that an adapter exports gives the types, the
 * check at the call, the table in the README and the plan of the conformance run. Every member is tested: declared → its
 * cases run; absent → the refusal is tested.
 */
export interface Capabilities {
  /**
   * `at-most-once`: nothing is kept for who is not connected, nothing comes again. Publish and subscribe then require the option
   * `delivery: 'at-most-once'`, so that nobody chooses it unawares.
   */
  readonly delivery: "at-least-once" | "at-most-once";
  /** Durable groups that share the work of a topic. */
  readonly group: Support;
  /** Subscriptions without a group: every running instance gets every message. */
  readonly broadcast: Support;
  /** One holder per shard at a time, records of a key in order. */
  readonly ordered: Support;
  /** String headers on the wire. */
  readonly headers: Support;
  /** Header filters; `emulated` = core drops what does not match after it was delivered. */
  readonly filter: Support;
  /** Higher priority first. */
  readonly priority: Support;
  /** They differ: a broker may delay a queue but not a fan-out. */
  readonly delay: { readonly group: DelaySupport; readonly topic: DelaySupport };
  /** What becomes of the order when a record is released, and whether the broker counts a `returned` one as delivered. */
  readonly release: { readonly order: "kept" | "lost"; readonly counted: boolean } | "absent";
  /** `window`: counts everything that was handed out, started or not. */
  readonly deliveries: "exact" | "window" | "absent";
  /** Sends and accepts in one step: of any records, of a shard's prefix, or not at all. */
  readonly commit: "record" | "prefix" | "absent";
  /** `transactional: true` on a subscription: what a handler publishes and its message's acceptance happen together or not at all. */
  readonly transactions: Support;
  /** Moves a whole group to another position: `bus.seek`. */
  readonly seek: Support;
  /** Reading waiting records without taking them (listing dead letters). */
  readonly browse: Support;
  /** Groups that begin with what was sent before they existed. */
  readonly earliest: Support;
  readonly backlog: "exact" | "approximate" | "absent";
  readonly deadLetter: Support;
  /** Whether a topic without any group keeps what is sent (`false`: it is `unroutable`). */
  readonly retained: boolean;
  /** Whether stored records survive the broker's restart. */
  readonly persistent: boolean;
  /** `ordered`: items of one `send` and of later ones reach a shard in call order, or nothing later is stored. */
  readonly sendOrder: "ordered" | "per-call";
}

/** Hard limits as numbers. `Infinity` = none that we know. Core refuses what is above before the wire, naming both numbers. */
export interface Limits {
  /** Body bytes of one message. */
  readonly messageBytes: number;
  /** Number of headers of one message. */
  readonly headers: number;
  /** UTF-8 bytes of a header name, and of all names and values together. */
  readonly headerNameBytes: number;
  readonly headersBytes: number;
  /** UTF-8 bytes of the key. */
  readonly keyBytes: number;
  /** UTF-8 bytes of a topic name and of a group name, after what the driver adds. */
  readonly nameBytes: number;
  /** Longest delay, and the step to which delays are rounded up. 0 where delays are absent. */
  readonly delayMs: number;
  readonly delayStepMs: number;
  /** One `send` call: items, bytes, items of one ordered key (`Infinity` when order is kept), and what a call may span. */
  readonly batch: {
    readonly items: number;
    readonly bytes: number;
    readonly perKey: number;
    readonly scope: "connection" | "destination";
  };
  /** Overlapping `send` calls that the driver wants. */
  readonly sendsInFlight: number;
  /** Most records of one `receive`, and overlapping calls. */
  readonly receiveBatch: number;
  readonly receivesInFlight: number;
  /** Most settlements of one `settle` call. */
  readonly settleBatch: number;
  readonly sourcesPerReceiver: number;
}
