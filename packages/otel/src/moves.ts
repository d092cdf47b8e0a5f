import { SpanKind } from "@opentelemetry/api";
import { deadLetterHeaders } from "@sluice/core";
import { type CommitResult, type SendItem, type SendResult, wire } from "@sluice/core/driver";
import { carrierOf, creationOf, extract, firstOf } from "./propagation.ts";
import { type Ending, endSpan, type Parts, spanAttributes } from "./telemetry.ts";

/** Every reason that core gives a dead letter. */
export const deadLetterReasons: readonly string[] = ["permanent", "invalid", "exhausted", "rejected", "crash-suspect"];

type Move = "retry" | "dead-letter" | "redrive";

/** Where a copy goes that core makes of a message. Hops on the way of a delay, and what only goes back, are none. */
function moveOf({ to, from, record }: SendItem): Move | undefined {
  if (!from || to.group === undefined || from.source.topic === undefined) return undefined;
  const buried = "deadLetter" in from.source && from.source.deadLetter === true;
  // A dead letter that did not match a redrive's filter goes to the end of the queue.
  if (to.deadLetter) return buried ? undefined : "dead-letter";
  if (buried) return "redrive";
  return record.headers[wire.attempts] === from.headers[wire.attempts] ? undefined : "retry";
}

/**
 * A `send` span per copy, beside the message's other spans. The copy keeps the trace that it has: whoever handles it links to where
 * the message was made, and not to its last failure. The answers end the spans.
 */
export function beginMoves(parts: Parts, items: readonly SendItem[]): ((ending: Ending<unknown>) => void)[] {
  return items.map((item) => {
    const move = item.from && moveOf(item);
    return move === undefined ? () => undefined : begin(parts, item, move);
  });
}

function begin(parts: Parts, { to, record, from }: SendItem, move: Move): (ending: Ending<unknown>) => void {
  const { words } = parts.places;
  const place = parts.places.handling(to.topic, to.group ?? "");
  const origin = extract(carrierOf(parts.driver, record.headers, from?.native));
  const links = [creationOf(origin), firstOf(record.headers)].flatMap((context) => (context ? [{ context }] : []));
  const reason =
    move === "dead-letter" ? { "sluice.dead_letter.reason": record.headers[deadLetterHeaders.reason] } : {};
  const span = parts.tracer.startSpan(
    `${words.copy} ${place.destination}`,
    {
      kind: SpanKind.CLIENT,
      attributes: spanAttributes(parts, {
        ...place.span,
        "messaging.operation.name": words.copy,
        "messaging.operation.type": "send",
        "messaging.message.id": record.id,
        "sluice.move": move,
        ...reason,
      }),
      links,
    },
    origin,
  );
  return (ending) => {
    endSpan(span, ending);
    if (move === "dead-letter" && !ending.failed) {
      parts.metrics.instruments?.deadLetters.add(1, { ...place.metric, ...reason });
    }
  };
}

/** What came of a copy that was sent by itself. */
export function ofSend(result: SendResult | undefined): Ending<unknown> {
  if (result?.outcome === "stored") return { value: undefined };
  return { failed: true, error: result?.error };
}

/** What came of a copy that was stored in one step with its original's acceptance. */
export function ofCommit(result: CommitResult | undefined): Ending<unknown> {
  return result === "durable" ? { value: undefined } : { failed: true, error: result };
}
