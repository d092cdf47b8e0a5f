import { type Context, events, isSluiceError, type Outcome, SluiceError, unusedOutcome } from "@sluice/core";

/**
 * The error of a run that returned and that the engine counts as failed all the same: it made an outcome and did not return it,
 * exceeded its time limit, or lost its message. Such a run may have stopped half way, and must not count as completed.
 *
 * @param signal the run's own: read before the handler began
 */
export function failureOf(context: Context, signal: AbortSignal, returned: unknown): unknown {
  if (signal.aborted) {
    const reason: unknown = signal.reason;
    // `CLOSED`: a drain asks it to end, and what it returns in time counts.
    if (isSluiceError(reason, "HANDLER_TIMEOUT") || isSluiceError(reason, "LEASE_LOST")) return reason;
  }
  return unusedOutcome(context, returned);
}

const kinds: ReadonlySet<unknown> = new Set<Outcome["kind"]>(["retry", "defer", "dead-letter", "drop"]);

/** Whether a handler's answer is an outcome; anything else means done. */
export function isOutcome(returned: unknown): returned is Outcome {
  return typeof returned === "object" && returned !== null && "kind" in returned && kinds.has(returned.kind);
}

/**
 * What the broker commits must not be skipped because somebody remembers it as done before that: a crash in between would lose it.
 * @throws SluiceError `CONFIG` in a transactional subscription
 */
export function refuseTransactional({ transactional, group, message }: Context, who: string): void {
  if (!transactional) return;
  throw new SluiceError(
    "CONFIG",
    `${who}: group "${group}" of topic "${message.topic}" is transactional, and a message that is remembered before the broker's commit ` +
      `could lose what it publishes; leave out one of the two`,
  );
}

/** Tells whoever listens that a message was handled before, and was not handled again. */
export function reportDuplicate(context: Context): void {
  if (!events.duplicate.hasSubscribers) return;
  const { message, group } = context;
  events.duplicate.publish({ topic: message.topic, group, id: message.id, context });
}
