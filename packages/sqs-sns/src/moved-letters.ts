import type { Message } from "@aws-sdk/client-sqs";
import {
  type Delivery,
  emptyHeaders,
  fromDeadLetter,
  type GroupSource,
  type Headers,
  type Runtime,
  type SendItem,
  wire,
} from "@sluice/core/driver";
import type { Line } from "./polls.ts";
import { groupId } from "./record.ts";

/** A dead letter that came back to its group as it was. */
export interface MovedLetter {
  /** The fresh start that it gets. */
  readonly delivery: Delivery;
  /** It has to be sent once more, because this is no fresh start for the queue. */
  readonly again: SendItem | undefined;
}

/** Receipts that would look like crashes. */
const suspicious = 3;

/** What a move task, or somebody in the console, brings to the queue of a group: it changes neither attributes nor message group. */
export function movedLetter(
  { source, queue }: Line,
  { Attributes = {} }: Message,
  given: Delivery,
  runtime: Pick<Runtime, "wallMs">,
): MovedLetter | undefined {
  if (source.topic === undefined || !("group" in source) || source.deadLetter) return undefined;
  if (!isDeadLetter(given.headers) && Attributes.DeadLetterQueueSourceArn === undefined) return undefined;
  const headers = fromDeadLetter(given.headers, countOf(given.headers[wire.redrives]) + 1);
  delete headers[wire.handOuts];
  // n.b. Receipts before the move may be counted too. What has many starts with a count of its own, as a copy.
  const delivery = { ...given, headers, deliveries: 1 };
  const old = (given.deliveries ?? 1) >= suspicious;
  // n.b. Dead letters have a message group each: here nothing would keep it in the order of its key.
  const { key } = given;
  const astray = queue.fifo && key !== null && Attributes.MessageGroupId !== groupId({ key, dedupId: "" });
  return { delivery, again: old || astray ? copyOf(delivery, source, runtime) : undefined };
}

/** n.b. Only a copy of ours that is no retry: whoever publishes what it read from dead letters may keep their headers. */
function isDeadLetter(headers: Headers): boolean {
  if (headers["dlq-reason"] === undefined || headers["dlq-attempts"] === undefined) return false;
  return (
    headers[wire.hop] !== undefined && headers[wire.attempts] === undefined && headers[wire.handOuts] === undefined
  );
}

function copyOf(delivery: Delivery, { topic, group }: GroupSource, runtime: Pick<Runtime, "wallMs">): SendItem {
  const { id = "", key, body, time = runtime.wallMs() } = delivery;
  const headers = Object.assign<Headers, Headers>(emptyHeaders(), delivery.headers);
  const hop = countOf(headers[wire.hop]) + 1;
  headers[wire.hop] = String(hop);
  return { to: { topic, group }, from: delivery, record: { id, dedupId: `${id}/${hop}`, key, body, headers, time } };
}

function countOf(text: string | undefined): number {
  return text !== undefined && /^\d{1,9}$/.test(text) ? Number(text) : 0;
}
