import type { Context as OtelContext } from "@opentelemetry/api";
import type { Context, Middleware } from "@sluice/core";
import type { Capabilities, Driver } from "@sluice/core/driver";
import { Backlogs } from "./backlogs.ts";
import { wantsOlderNames } from "./conventions.ts";
import { observed } from "./driver.ts";
import { contextOf, handling, handlingBatches } from "./handling.ts";
import { Metrics } from "./metrics.ts";
import { type OtelOptions, settingsOf } from "./options.ts";
import { Places } from "./places.ts";
import { publishing } from "./publishing.ts";
import { isObserved, newParts } from "./telemetry.ts";

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
  const { parent, createSpans, backlogEveryMs, most, attributes } = settingsOf(options);
  const backlogs = new Backlogs({ everyMs: backlogEveryMs, most });
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
