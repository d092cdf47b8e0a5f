/**
 * Names of the headers that Sluice itself writes. They are legal on every broker: lower-case letters and hyphens, never first
 * or last a hyphen, no vendor prefix. The payload is the body; everything else about a message is here or in native fields.
 */
export const wire = {
  /** Message id, where the broker has no field for it. Written by drivers. */
  id: "sluice-id",
  /** First publication, decimal wall milliseconds, where the native field is coarser or reset by copies. Written by drivers. */
  time: "sluice-time",
  /** Key, where the broker has no field for it. Written by drivers. */
  key: "sluice-key",
  /** The same for a key that is not UTF-8 text, in base64. */
  keyBytes: "sluice-key-base64",
  /** In a waiting place: destination as JSON and the due time in decimal wall milliseconds. Written by drivers. */
  to: "sluice-to",
  notBefore: "sluice-not-before",
  /** Failed attempts of this group so far, decimal. Written by core. */
  attempts: "sluice-attempts",
  /** Which copy of the message this is, decimal; absent on the first write. Written by core. */
  hop: "sluice-hop",
  /** When the message is no longer wanted, decimal wall milliseconds. Written by core. */
  expiresAt: "sluice-expires-at",
  /** How often it was put back from the dead letters, decimal. Written by core. */
  redrives: "sluice-redrives",
  /** Hand-outs before this copy, decimal: crash evidence that a move to the own entry must not wipe out. Written by core. */
  handOuts: "sluice-hand-outs",
  contentType: "content-type",
} as const;

/** Reserved: users cannot set a header that begins so. */
export const reservedHeaderPrefix = "sluice-";
