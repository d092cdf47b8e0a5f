import { context as otelContext, propagation } from "@opentelemetry/api";
import { CompositePropagator, W3CBaggagePropagator, W3CTraceContextPropagator } from "@opentelemetry/core";
import { bytes, type Codec, json, text, type WireMessage } from "@sluice/core";
import { emptyHeaders, fromDeadLetter, type Headers } from "@sluice/core/driver";
import { correlationOf } from "@sluice/middleware";
import { deadLetters as letters, otel, work } from "../inside.ts";
import { check, nothing, sample, type Sample, type Target, type TextHeaders } from "../target.ts";

function headersOf(headers: TextHeaders): Headers {
  return Object.assign<Headers, TextHeaders>(emptyHeaders(), headers);
}

/** As core gives it to a codec; the topic is called after the target. */
export function wireOf({ bytes: body, headers }: Sample, topic: string, system = "memory"): WireMessage {
  return { system, topic, id: "m-1", key: null, time: undefined, headers: headersOf(headers), body };
}

function codec(name: string, reader: Codec, golden: Target["golden"], refuses: (error: unknown) => boolean): Target {
  return {
    name: `core: ${name}`,
    golden,
    expected: refuses,
    run: (given) => reader.decode(given.bytes, wireOf(given, name)),
  };
}

/** `JSON.parse`, and a decoder of text that is fatal. */
export const malformed = (error: unknown): boolean =>
  error instanceof SyntaxError ||
  (error instanceof TypeError && "code" in error && error.code === "ERR_ENCODING_INVALID_ENCODED_DATA");

const order = sample('{"orderId":"o-1","lines":[{"sku":"a","count":2.5e3}],"note":"\\u00e9 \\ud83d\\ude00"}');
const dead = sample("x", {
  "dlq-reason": "exhausted",
  "dlq-failed-at": "2026-01-01T00:00:00.000Z",
  "dlq-first-failed-at": "2026-01-01T00:00:00.000Z",
  "dlq-attempts": "8",
  "dlq-chain": "orders/billing",
  "dlq-error-message": "it broke",
  "sluice-attempts": "3",
  "sluice-redrives": "1",
  traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
});

const deadLetters: Target = {
  name: "core: dead-letter headers",
  golden: [dead],
  names: Object.keys(dead.headers),
  expected: nothing,
  run({ bytes: body, headers: given }) {
    const headers = headersOf(given);
    const source = { topic: "orders", group: "billing", deadLetter: true } as const;
    const delivery = {
      id: given["sluice-id"],
      key: null,
      body,
      headers,
      time: 0,
      source,
      shard: "s",
      deliveries: 1,
      fence: undefined,
      native: undefined,
    };
    const error = new Error(given["dlq-error-message"]);
    error.name = given["dlq-error-type"] ?? "Error";
    const facts = {
      topic: "orders",
      group: "billing",
      reason: "invalid",
      detail: body.toString("latin1"),
      error,
      attempts: 1,
      wallMs: 0,
    } as const;
    const letter = letters.toDeadLetter(delivery, facts);
    for (const all of [
      letter,
      letters.withoutDetails(letter),
      fromDeadLetter(letter, work.count(headers["sluice-redrives"]) + 1),
    ]) {
      for (const [name, value] of Object.entries(all))
        check(typeof value === "string", `header "${name}" is ${typeof value}`);
    }
    check((letter["dlq-error-message"]?.length ?? 0) <= 512, "the error message is not cut");
    check(!/[\r\n]/.test(letter["dlq-error-message"] ?? ""), "the error message has more than one line");
    for (const [name, value] of Object.entries(given)) {
      if (!name.startsWith("dlq-") && !name.startsWith("sluice-"))
        check(letter[name] === value, `header "${name}" was changed`);
    }
  },
};

const correlations: Target = {
  name: "middleware: correlation",
  golden: [sample("x", { "correlation-id": "c-1", "causation-id": "m-0", "x-correlation-id": "theirs" })],
  names: ["x-correlation-id"],
  expected: nothing,
  run({ headers }) {
    const message = {
      topic: "orders",
      id: "m-1",
      key: null,
      headers: headersOf(headers),
      time: undefined,
      attempt: 1,
      deliveries: 1,
      redrives: 0,
    };
    const { correlationId, causationId } = correlationOf({ message }, ["x-correlation-id"]);
    check(
      correlationId !== "" && correlationId.length <= 512 && correlationId.isWellFormed(),
      "the id of the flow is not usable",
    );
    check(causationId === undefined || causationId.isWellFormed(), "the id of the cause is not usable");
  },
};

/** The propagators that an SDK would register; only for the time of a call. */
const w3c = new CompositePropagator({ propagators: [new W3CTraceContextPropagator(), new W3CBaggagePropagator()] });

const traces: Target = {
  name: "otel: propagation",
  golden: [
    sample("x", {
      traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
      tracestate: "a=b,c=d;e",
      baggage: "userId=alice,serverNode=DF%2028,isProduction=false;property",
      "dlq-original-traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00",
    }),
  ],
  names: ["traceparent", "tracestate", "baggage", "googclient_traceparent", "dlq-original-traceparent"],
  weight: 1.5,
  expected: nothing,
  run({ headers: given }) {
    const headers = headersOf(given);
    propagation.setGlobalPropagator(w3c);
    try {
      const extracted = otel.extract(headers);
      otel.creationOf(extracted);
      otel.firstOf(headers);
      const draft = { headers: headersOf(given), cause: undefined } as Parameters<typeof otel.givenBy>[0];
      otel.givenBy(draft);
      otel.inject(otelContext.active() === extracted ? otelContext.active() : extracted, draft, undefined);
      for (const [name, value] of Object.entries(draft.headers))
        check(typeof value === "string", `header "${name}" is ${typeof value}`);
    } finally {
      propagation.disable();
    }
  },
};

export const core: readonly Target[] = [
  codec("json", json(), [order, sample("null"), sample("[1,2,3]")], malformed),
  codec("text", text(), [sample("plain text é 😀")], malformed),
  codec("bytes", bytes(), [sample(Buffer.from([0, 1, 255]))], nothing),
  deadLetters,
  correlations,
  traces,
];
