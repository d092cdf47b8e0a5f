import { type Delivery, emptyHeaders, type Headers } from "./driver/record.ts";
import { deadLetterHeaders } from "./driver/dead-letter.ts";
import { wire } from "./driver/wire.ts";
import { type DeadLetterReason, describe } from "./consume/fate.ts";

export interface DeadLetterFacts {
  readonly topic: string;
  readonly group: string;
  readonly reason: DeadLetterReason;
  readonly detail: string;
  readonly error: unknown;
  readonly attempts: number;
  readonly wallMs: number;
}

/** The original headers, unchanged, plus why, when and where. `dlq-original-*` and `dlq-first-failed-at` are written once. */
export function toDeadLetter(delivery: Delivery, facts: DeadLetterFacts): Headers {
  const names = deadLetterHeaders;
  const failedAt = new Date(facts.wallMs).toISOString();
  const headers = Object.assign<Headers, Headers>(emptyHeaders(), delivery.headers);
  delete headers[wire.attempts];
  delete headers[wire.handOuts];
  headers[names.reason] = facts.reason;
  headers[names.errorType] = cut(errorType(facts.error), 128);
  headers[names.errorMessage] = cut(describe(facts.detail), 512);
  headers[names.attempts] = String(facts.attempts);
  headers[names.failedAt] = failedAt;
  headers[names.firstFailedAt] ??= failedAt;
  headers[names.originalDestination] ??= facts.topic;
  if (delivery.shard) headers[names.originalShard] ??= delivery.shard;
  if (delivery.id !== undefined) headers[names.originalMessageId] ??= delivery.id;
  if (headers["traceparent"] !== undefined) headers[names.originalTraceparent] ??= headers["traceparent"];
  headers[names.group] = facts.group;
  const chain = headers[names.chain];
  const link = `${facts.topic}/${facts.group}`;
  headers[names.chain] = cut(chain === undefined ? link : `${chain},${link}`, 1024);
  return headers;
}

/** A dead letter that grew over the broker's limit: the reason stays, what explains it goes. */
export function withoutDetails(headers: Headers): Headers {
  const { reason, attempts } = deadLetterHeaders;
  const short = emptyHeaders();
  for (const name in headers) {
    if (!name.startsWith("dlq-") || name === reason || name === attempts) short[name] = headers[name] ?? "";
  }
  return short;
}

function errorType(error: unknown): string {
  if (error instanceof Error) return describe(error.name);
  return error === undefined ? "none" : typeof error;
}

const encoder = new TextEncoder();

/** At most that many UTF-8 bytes, cut between code points; line breaks become spaces (some brokers refuse them). */
function cut(text: string, bytes: number): string {
  // oxlint-disable-next-line no-control-regex -- control characters are what is looked for
  const line = text.replaceAll(/[\u0000-\u001f\u007f]+/g, " ");
  if (encoder.encode(line).length <= bytes) return line;
  let kept = "";
  let size = 0;
  for (const point of line) {
    size += encoder.encode(point).length;
    if (size > bytes) break;
    kept += point;
  }
  return kept;
}
