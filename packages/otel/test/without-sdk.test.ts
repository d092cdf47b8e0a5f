import { metrics, trace } from "@opentelemetry/api";
import { MeterProvider } from "@opentelemetry/sdk-metrics";
import { BasicTracerProvider } from "@opentelemetry/sdk-trace-base";
import type { ConnectContext, Connection } from "@sluice/core/driver";
import { memory, simulation } from "@sluice/memory";
import { afterEach, expect, test } from "vitest";
import { otel } from "../src/index.ts";
import { bench, Invoices, Orders } from "./support/bench.ts";

afterEach(() => {
  trace.disable();
  metrics.disable();
});

const traced = {
  traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
  tracestate: "a=1",
  baggage: "b=2",
};

function contextOf(): ConnectContext {
  const { signal } = new AbortController();
  return { runtime: simulation().runtime, signal, clientName: "svc", report: () => undefined };
}

test("nothing is around anything: no middleware, and the driver's own connection", async () => {
  const plain = memory();
  const own: Connection[] = [];
  const driver = {
    ...plain,
    connect: async (context: ConnectContext) => {
      const connection = await plain.connect(context);
      own.push(connection);
      return connection;
    },
  };
  const telemetry = otel(driver);
  expect(telemetry.middleware).toEqual({});
  expect(await telemetry.driver.connect(contextOf())).toBe(own[0]);
});

test("a trace that came in goes on: through retries, dead letters, and what a handler publishes", async () => {
  const { bus, clock } = await bench();
  const seen: unknown[] = [];
  const see = ({ traceparent, tracestate, baggage }: Readonly<Record<string, string>>) =>
    void seen.push({ traceparent, tracestate, baggage });
  await clock.run(bus.subscribe(Invoices, { group: "mail" }, (_invoice, { message }) => see(message.headers)));
  const retry = { attempts: 2, firstDelay: "10s", inPlace: 0 } as const;
  await clock.run(
    bus.subscribe(Orders, { group: "billing", retry }, async (_order, context) => {
      see(context.message.headers);
      if (context.message.redrives === 0) throw new Error("not yet");
      await context.publish(Invoices, "i-1");
    }),
  );
  await clock.run(bus.publish(Orders, { orderId: "o-1" }, { headers: traced }));
  await clock.advance(60_000);
  await clock.run(bus.deadLetters(Orders, { group: "billing" }).redrive());
  await clock.advance(60_000);
  await clock.run(bus.close());
  expect(seen).toEqual([traced, traced, traced, traced]);
});

test("spans without metrics, or metrics without spans, are enough", async () => {
  const telemetry = otel(memory());
  expect(telemetry.middleware).toEqual({});
  metrics.setGlobalMeterProvider(new MeterProvider());
  expect(Object.keys(telemetry.middleware)).toEqual(["publish", "attempt", "batch"]);
  metrics.disable();
  expect(telemetry.middleware).toEqual({});
  trace.setGlobalTracerProvider(new BasicTracerProvider());
  expect(Object.keys(telemetry.middleware)).toEqual(["publish", "attempt", "batch"]);
});
