/** What the embedded broker keeps. Nothing is emulated: it is the reference for every other driver. */
export const capabilities = {
  delivery: "at-least-once",
  group: "native",
  broadcast: "native",
  ordered: "native",
  headers: "native",
  filter: "native",
  // Inside an ordered topic priority has no effect: it would reorder the records of a key.
  priority: "native",
  delay: { group: "native", topic: "native" },
  release: { order: "kept", counted: false },
  deliveries: "exact",
  commit: "record",
  transactions: "native",
  seek: "absent",
  browse: "native",
  // Out of a bounded history per topic: see `historyRecords` and `historyBytes` of MemoryBroker.
  earliest: "native",
  backlog: "exact",
  deadLetter: "native",
  retained: false,
  persistent: false,
  sendOrder: "ordered",
} as const;

/** The literal types: an option that the broker lacks does not compile. That they are `Capabilities` is checked by `MemoryDriver`. */
export type MemoryCapabilities = typeof capabilities;
