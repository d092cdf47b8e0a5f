import type { Attributes, Context as OtelContext } from "@opentelemetry/api";
import { type Context, type Duration, type Middleware, milliseconds } from "@sluice/core";
import type { Capabilities, Driver } from "@sluice/core/driver";
import { Backlogs } from "./backlogs.ts";
import { wantsOlderNames } from "./conventions.ts";
import { observed } from "./driver.ts";
import { contextOf, handling, handlingBatches } from "./handling.ts";
import { Metrics } from "./metrics.ts";
import { Places } from "./places.ts";
import { publishing } from "./publishing.ts";
import { isObserved, newParts } from "./telemetry.ts";

/** Options of {@link otel}. */
export interface OtelOptions {
  /**
   * Whose children the spans of handlers are: of the message's (`creation`), or of nobody's (`link`), for queues in which messages
   * wait for days. They link to the message's span either way. @default 'creation'
   */
  readonly parent?: "creation" | "link";
  /** `sendBatch`: whether each message gets a span of its own; `false`: all carry that of the call. @default true */
  readonly createSpans?: boolean;
  /** How long the broker's answer about backlogs is good, so that frequent collection does not trouble it; `0` = never asked. @default '30s' */
  readonly backlogEvery?: Duration;
  /** Most topics and groups that metrics tell apart; what comes later is counted without names. @default 1000 */
  readonly most?: number;
  /** On every span and metric: `server.address`, a tenant. Few values. @default none */
  readonly attributes?: Attributes;
}

/** Traces and metrics of one bus: `connect(telemetry.driver, { middleware: telemetry.middleware })`. */
export interface Telemetry<D> {
  /** Instead of the driver that was given. */
  readonly driver: D;
  /** Outermost, so that what other middleware does is inside of the spans. Empty as long as no SDK is registered. */
  readonly middleware: Middleware;
  /** The span and the baggage of a message, for code outside of its handler: a loop over a consumer. */
  contextOf(context: Context): OtelContext;
}

/**
 * OpenTelemetry around a driver, through the globally registered SDK: trace context and baggage in every message's headers, spans and
 * metrics as the semantic conventions 1.45 name them. Register the SDK first: a bus that is connected without one stays without
 * telemetry, and costs nothing.
 *
 * `OTEL_SEMCONV_STABILITY_OPT_IN=messaging/dup` adds the attribute names until 1.44.
 *
 * @throws SluiceError `CONFIG` for an illegal option
 */
export function otel<C extends Capabilities, Message, Client>(
  driver: Driver<C, Message, Client>,
  options: OtelOptions = {},
): Telemetry<Driver<C, Message, Client>> {
  const { parent = "creation", createSpans = true, backlogEvery = "30s", most = 1000, attributes = {} } = options;
  const backlogs = new Backlogs({ everyMs: milliseconds(backlogEvery, "backlogEvery of otel"), most });
  const places = new Places(driver, { attributes, most });
  const parts = newParts({
    driver: driver.name,
    places,
    metrics: new Metrics((result, observables) => {
      places.observe(result, observables.inFlight);
      return backlogs.observe(result, observables);
    }),
    dup: wantsOlderNames(process.env["OTEL_SEMCONV_STABILITY_OPT_IN"]),
    parent,
    createSpans,
  });
  const middleware: Middleware = {
    publish: [publishing(parts)],
    attempt: [handling(parts)],
    batch: [handlingBatches(parts)],
  };
  return {
    driver: observed(driver, parts, backlogs),
    get middleware() {
      return isObserved(parts) ? middleware : {};
    },
    contextOf: (context) => contextOf(parts, context),
  };
}
