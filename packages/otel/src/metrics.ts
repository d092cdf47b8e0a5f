import {
  type BatchObservableResult,
  type Counter,
  createNoopMeter,
  type Histogram,
  type Meter,
  metrics,
  type Observable,
} from "@opentelemetry/api";
import { schemaUrl } from "./conventions.ts";

/** The four of the conventions, and what they lack; but for what is asked for only when somebody collects. */
export interface Instruments {
  readonly operation: Histogram;
  readonly process: Histogram;
  readonly sent: Counter;
  readonly consumed: Counter;
  readonly retries: Counter;
  readonly deadLetters: Counter;
  readonly lost: Counter;
  readonly duplicates: Counter;
}

/** What is asked for when somebody collects. */
interface Observables {
  readonly inFlight: Observable;
  readonly backlog: Observable;
  readonly age: Observable;
}

export type Observe = (result: BatchObservableResult, observables: Observables) => Promise<void>;

const seconds = {
  unit: "s",
  advice: { explicitBucketBoundaries: [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10] },
};

/** n.b. Unlike tracers, instruments made before the SDK was registered stay dead: they are made for the provider of the moment. */
export class Metrics {
  readonly #observe: Observe;
  #provider: unknown;
  #instruments: Instruments | undefined;

  constructor(observe: Observe) {
    this.#observe = observe;
  }

  /** `undefined` while no SDK takes metrics. */
  get instruments(): Instruments | undefined {
    const provider = metrics.getMeterProvider();
    if (provider !== this.#provider) {
      this.#provider = provider;
      const meter = provider.getMeter("@sluice/otel", undefined, { schemaUrl });
      this.#instruments = meter === createNoopMeter() ? undefined : this.#make(meter);
    }
    return this.#instruments;
  }

  #make(meter: Meter): Instruments {
    const message = (description: string) => ({ unit: "{message}", description });
    const backlog = meter.createObservableGauge(
      "sluice.consumer.backlog",
      message("Messages on the broker that a group has not handled, by state"),
    );
    const age = meter.createObservableGauge("sluice.consumer.backlog.age", {
      unit: "s",
      description: "Age of the oldest message that waits for a group",
    });
    const inFlight = meter.createObservableUpDownCounter(
      "sluice.consumer.in_flight",
      message("Messages that handlers have now"),
    );
    const observables = { inFlight, backlog, age };
    meter.addBatchObservableCallback((result) => this.#observe(result, observables), Object.values(observables));
    return {
      operation: meter.createHistogram("messaging.client.operation.duration", {
        ...seconds,
        description: "Duration of handing messages to the broker",
      }),
      process: meter.createHistogram("messaging.process.duration", {
        ...seconds,
        description: "Duration of one run of a handler",
      }),
      sent: meter.createCounter("messaging.client.sent.messages", message("Messages that were tried to be sent")),
      consumed: meter.createCounter("messaging.client.consumed.messages", message("Messages that reached a handler")),
      retries: meter.createCounter("sluice.consumer.retries", message("Runs of a handler after the first")),
      deadLetters: meter.createCounter("sluice.consumer.dead_letters", message("Messages that a group gave up")),
      lost: meter.createCounter(
        "sluice.consumer.lost",
        message("Messages that went to another holder while we had them"),
      ),
      duplicates: meter.createCounter(
        "sluice.consumer.duplicates",
        message("Deliveries that were recognised as handled before, and not handled again"),
      ),
    };
  }
}
