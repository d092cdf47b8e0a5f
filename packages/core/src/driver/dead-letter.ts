import { emptyHeaders, type Headers } from "./record.ts";
import { wire } from "./wire.ts";

/** Names of the headers that a dead letter carries beside the original ones. */
export const deadLetterHeaders = {
  /** `permanent`, `invalid`, `exhausted`, `rejected`, `crash-suspect`. */
  reason: "dlq-reason",
  errorType: "dlq-error-type",
  errorMessage: "dlq-error-message",
  attempts: "dlq-attempts",
  failedAt: "dlq-failed-at",
  firstFailedAt: "dlq-first-failed-at",
  originalDestination: "dlq-original-destination",
  originalShard: "dlq-original-shard",
  originalMessageId: "dlq-original-message-id",
  group: "dlq-consumer-group",
  /** Every group that gave it up, newest last. */
  chain: "dlq-chain",
  originalTraceparent: "dlq-original-traceparent",
} as const;

/**
 * Headers of a dead letter that goes back to its group: a fresh start that remembers where it died first. `redrives`: how often it
 * went back, this time included.
 */
export function fromDeadLetter(headers: Headers, redrives: number): Headers {
  const names = deadLetterHeaders;
  const fresh = Object.assign<Headers, Headers>(emptyHeaders(), headers);
  for (const name of [names.reason, names.errorType, names.errorMessage, names.attempts, names.failedAt, names.group]) {
    delete fresh[name];
  }
  delete fresh[wire.attempts];
  delete fresh[wire.expiresAt];
  fresh[wire.redrives] = String(redrives);
  return fresh;
}
