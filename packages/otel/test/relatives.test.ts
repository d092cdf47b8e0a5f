import { context as otelContext, propagation, ROOT_CONTEXT, SpanKind, trace } from "@opentelemetry/api";
import { suppressTracing } from "@opentelemetry/core";
import { type Context, isSluiceError } from "@sluice/core";
import { googlePubsub } from "@sluice/google-pubsub";
import fc from "fast-check";
import { beforeEach, describe, expect, test } from "vitest";
import { bench, Invoices, Orders } from "./support/bench.ts";
import { dressed } from "./support/dressed.ts";
import { registerSdk } from "./support/sdk.ts";

const sdk = registerSdk();
beforeEach(() => sdk.reset());

const order = { orderId: "o-1" };
const given = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const tracer = trace.getTracer("service");

function withTenant<T>(run: () => T): T {
  const baggage = propagation.createBaggage({ tenant: { value: "Amélie & co" } });
  return otelContext.with(propagation.setBaggage(ROOT_CONTEXT, baggage), run);
}

describe("what goes out", () => {
  test("is a child of what is active; baggage goes along, also through what a handler publishes", async () => {
    const { bus, clock } = await bench();
    const tenants: unknown[] = [];
    const see = () => void tenants.push(propagation.getActiveBaggage()?.getEntry("tenant")?.value);
    await clock.run(bus.subscribe(Invoices, { group: "mail" }, see));
    await clock.run(
      bus.subscribe(Orders, { group: "billing" }, async (_order, context) => {
        see();
        await context.publish(Invoices, "i-1");
      }),
    );
    const http = tracer.startSpan("POST /orders", { kind: SpanKind.SERVER });
    await withTenant(() => {
      const inside = trace.setSpan(otelContext.active(), http);
      return otelContext.with(inside, () => clock.run(bus.publish(Orders, order)));
    });
    http.end();
    await clock.run(bus.close());
    expect(tenants).toEqual(["Amélie & co", "Amélie & co"]);
    expect(sdk.spans().map(({ name, parent }) => `${parent} > ${name}`)).toEqual([
      "undefined > POST /orders",
      "POST /orders > send orders",
      "send orders > process orders",
      "process orders > send invoices",
      "send invoices > process invoices",
    ]);
  });

  test("baggage that a handler takes away does not go on", async () => {
    const { bus, clock } = await bench();
    let headers: Readonly<Record<string, string>> = {};
    await clock.run(
      bus.subscribe(Invoices, { group: "mail" }, (_invoice, { message }) => void ({ headers } = message)),
    );
    await clock.run(
      bus.subscribe(Orders, { group: "billing" }, async (_order, context) => {
        const without = propagation.deleteBaggage(otelContext.active());
        await otelContext.with(without, () => context.publish(Invoices, "i-1"));
      }),
    );
    await withTenant(() => clock.run(bus.publish(Orders, order)));
    await clock.run(bus.close());
    expect(Object.keys(headers)).toContain("traceparent");
    expect(Object.keys(headers)).not.toContain("baggage");
  });

  test("a trace that the caller gave stays: the send span links to it", async () => {
    const { bus, clock } = await bench();
    let headers: Readonly<Record<string, string>> = {};
    await clock.run(bus.subscribe(Orders, { group: "billing" }, (_order, { message }) => void ({ headers } = message)));
    await clock.run(bus.publish(Orders, order, { headers: { traceparent: given, tracestate: "a=1", baggage: "b=2" } }));
    await clock.run(bus.close());
    expect(headers).toMatchObject({ traceparent: given, tracestate: "a=1", baggage: "b=2" });
    const [sent, handled] = sdk.spans();
    expect(sent).toMatchObject({ kind: "CLIENT", parent: undefined, links: [{ to: "b7ad6b7169203331" }] });
    expect(handled).toMatchObject({ parent: "b7ad6b7169203331", links: [{ to: "b7ad6b7169203331" }] });
  });

  test("a trace that cannot be read is none: the message gets ours", async () => {
    const { bus, clock } = await bench();
    let headers: Readonly<Record<string, string>> = {};
    await clock.run(bus.subscribe(Orders, { group: "billing" }, (_order, { message }) => void ({ headers } = message)));
    await clock.run(bus.publish(Orders, order, { headers: { traceparent: given.toUpperCase() } }));
    await clock.run(bus.close());
    const sent = sdk.finished()[0]?.spanContext();
    expect(headers["traceparent"]).toBe(`00-${sent?.traceId}-${sent?.spanId}-01`);
    expect(sdk.spans()[0]).toMatchObject({ kind: "PRODUCER", links: [] });
  });

  test("a publish that fails says so on its span, with the code", async () => {
    const { bus, clock } = await bench();
    const error: unknown = await clock.run(
      bus.publish(Orders, order, { headers: { "": "" } }).catch((e: unknown) => e),
    );
    await clock.run(bus.close());
    expect(isSluiceError(error, "INVALID_MESSAGE")).toBe(true);
    expect(sdk.spans()).toMatchObject([{ name: "send orders", attributes: { "error.type": "INVALID_MESSAGE" } }]);
    expect(sdk.spans()[0]?.error).toContain("header name");
  });

  test("where the caller suppresses tracing nothing is traced, and what came along goes on as it is", async () => {
    const { bus, clock } = await bench();
    let headers: Readonly<Record<string, string>> = {};
    await clock.run(
      bus.subscribe(Invoices, { group: "mail" }, (_invoice, { message }) => void ({ headers } = message)),
    );
    await clock.run(
      bus.subscribe(Orders, { group: "billing" }, async (_order, context) => {
        await otelContext.with(suppressTracing(otelContext.active()), () => context.publish(Invoices, "i-1"));
      }),
    );
    await clock.run(bus.publish(Orders, order, { headers: { traceparent: given } }));
    await clock.run(bus.close());
    expect(headers["traceparent"]).toBe(given);
    expect(sdk.spans().map(({ name }) => name)).toEqual(["send orders", "process orders", "process invoices"]);
  });

  test("baggage that is too much for the broker's headers stays behind, the trace does not", async () => {
    const { bus, clock } = await bench();
    const seen: (string | undefined)[] = [];
    await clock.run(
      bus.subscribe(Orders, { group: "billing" }, (_order, { message: { headers } }) => {
        seen.push(headers["baggage"], headers["traceparent"]?.slice(0, 3));
      }),
    );
    const bytes = bus.limits.headersBytes;
    const baggage = propagation.createBaggage({ tenant: { value: "x".repeat(4000) } });
    await otelContext.with(propagation.setBaggage(ROOT_CONTEXT, baggage), () =>
      clock.run(bus.publish(Orders, order, { headers: { big: "x".repeat(bytes - 2000) } })),
    );
    await clock.run(bus.close());
    expect(seen).toEqual([undefined, "00-"]);
  });
});

describe("what comes in", () => {
  test("every group of a topic has the message's span for parent, whatever is active", async () => {
    const { bus, clock } = await bench();
    const start = tracer.startSpan("start of the service");
    await otelContext.with(trace.setSpan(ROOT_CONTEXT, start), async () => {
      await clock.run(bus.subscribe(Orders, { group: "billing" }, () => undefined));
      await clock.run(bus.subscribe(Orders, { group: "stock" }, () => undefined));
      await clock.run(bus.subscribe(Orders, { broadcast: "prices" }, () => undefined));
    });
    await clock.run(bus.publish(Orders, order));
    await clock.run(bus.close());
    const handled = sdk.spans().filter(({ name }) => name === "process orders");
    expect(handled.map(({ parent, links }) => [parent, links.length])).toEqual(
      Array.from({ length: 3 }, () => ["send orders", 1]),
    );
    const groups = handled.map(({ attributes }) => Reflect.get(attributes, "messaging.consumer.group.name"));
    expect(new Set(groups)).toEqual(new Set(["billing", "stock", "prices"]));
  });

  test.for(["single", "batch"] as const)(
    "on Google Pub/Sub the trace of Google's own client is the message's: %s",
    async (kind) => {
      const native = { attributes: { googclient_traceparent: given, googclient_tracestate: "a=1" } };
      const { bus, clock } = await bench({}, {}, dressed(googlePubsub({ projectId: "shop" }), native));
      const group = { group: "billing" };
      if (kind === "single") await clock.run(bus.subscribe(Orders, group, () => undefined));
      else await clock.run(bus.subscribeBatch(Orders, { ...group, batch: { size: 1 } }, () => undefined));
      // n.b. suppressed, or the message would carry our own trace, which comes first.
      await otelContext.with(suppressTracing(ROOT_CONTEXT), () => clock.run(bus.publish(Orders, order)));
      await clock.run(bus.close());
      const [handled] = sdk.spans();
      expect(handled?.links).toMatchObject([{ to: "b7ad6b7169203331" }]);
      expect(handled?.parent).toBe(kind === "single" ? "b7ad6b7169203331" : undefined);
    },
  );

  test("parent 'link': a trace of its own, with the link and the baggage", async () => {
    const { bus, clock } = await bench({ parent: "link" });
    let tenant: unknown;
    const see = () => void (tenant = propagation.getActiveBaggage()?.getEntry("tenant")?.value);
    await clock.run(bus.subscribe(Orders, { group: "billing" }, see));
    await withTenant(() => clock.run(bus.publish(Orders, order)));
    await clock.run(bus.close());
    const [sent, handled] = sdk.finished();
    expect(handled?.parentSpanContext).toBeUndefined();
    expect(handled?.spanContext().traceId).not.toBe(sent?.spanContext().traceId);
    expect(handled?.links[0]?.context.spanId).toBe(sent?.spanContext().spanId);
    expect(tenant).toBe("Amélie & co");
  });

  test("an outcome that is no error is told; a run in this process after another is a span of its own", async () => {
    const { bus, clock } = await bench();
    await clock.run(
      bus.subscribe(Orders, { group: "billing", retry: { firstDelay: 1 } }, (_order, context) => {
        if (context.message.attempt === 1) return context.retry({ reason: "not yet" });
        return context.drop("never mind");
      }),
    );
    await clock.run(bus.publish(Orders, order));
    await clock.advance(10_000);
    await clock.run(bus.close());
    const handled = sdk.spans().slice(1);
    expect(handled.map(({ attributes, error }) => [Reflect.get(attributes, "sluice.outcome"), error])).toEqual([
      ["retry", undefined],
      ["drop", undefined],
    ]);
  });

  test("a loop over a consumer gets the span by contextOf", async () => {
    const { bus, clock, telemetry } = await bench();
    const consumer = await clock.run(bus.consumer(Orders, { group: "billing" }));
    await clock.run(bus.publish(Orders, order));
    const { value: delivery } = await clock.run(consumer.next());
    if (!delivery) throw new Error("no delivery");
    const of = (context: Context) => telemetry.contextOf(context);
    await otelContext.with(of(delivery.context), () => clock.run(bus.publish(Invoices, "inside")));
    await clock.run(delivery.context.publish(Invoices, "by its context"));
    delivery.done();
    await clock.run(bus.close());
    expect(sdk.spans().map(({ name, parent }) => `${parent} > ${name}`)).toEqual([
      "undefined > send orders",
      "send orders > process orders",
      "process orders > send invoices",
      "process orders > send invoices",
    ]);
  });

  test("a dead letter whose trace somebody else wrote over links to both", async () => {
    const { bus, clock } = await bench();
    await clock.run(bus.subscribe(Orders, { group: "billing" }, () => undefined));
    const first = "00-11111111111111111111111111111111-2222222222222222-01";
    const headers = { traceparent: given, "dlq-original-traceparent": first };
    await clock.run(bus.publish(Orders, order, { headers }));
    await clock.run(bus.close());
    expect(sdk.spans()[1]?.links).toEqual([{ to: "b7ad6b7169203331" }, { to: "2222222222222222" }]);
  });
});

describe.for(["begin", "end"] as const)("an SDK that throws when spans %s", (when) => {
  test("fails no message: sent, handled, given up and put back", async () => {
    const { bus, clock } = await bench();
    sdk.fail(when);
    let runs = 0;
    const retry = { attempts: 2, firstDelay: "10s", inPlace: 0 } as const;
    await clock.run(
      bus.subscribe(Orders, { group: "billing", retry }, () => {
        runs++;
        if (runs <= 2) throw new Error("not yet");
      }),
    );
    await clock.run(bus.producer(Orders).sendBatch([{ payload: order }]));
    await clock.advance(60_000);
    expect(await clock.run(bus.deadLetters(Orders, { group: "billing" }).redrive())).toMatchObject({ redriven: 1 });
    await clock.advance(60_000);
    await clock.run(bus.close());
    expect(runs).toBe(3);
  });
});

describe("a traceparent that came in is", () => {
  const accepted = [given, given.replace(/01$/, "03"), ` ${given} `, `01${given.slice(2)}-extra`];
  const ignored = [
    given.toUpperCase(),
    `${given}-extra`,
    `ff${given.slice(2)}`,
    "00-00000000000000000000000000000000-b7ad6b7169203331-01",
    "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
    given.slice(0, -1),
    given.replaceAll("-", "_"),
    "",
  ];

  /** What became of the handler's span and of what the handler published, and what it saw. */
  async function handled(headers: Record<string, string>) {
    const { bus, clock } = await bench();
    const seen: Readonly<Record<string, string>>[] = [];
    await clock.run(
      bus.subscribe(Invoices, { group: "mail" }, (_invoice, { message }) => void seen.push(message.headers)),
    );
    await clock.run(
      bus.subscribe(Orders, { group: "billing" }, async (_order, context) => {
        seen.push(context.message.headers);
        await context.publish(Invoices, "i-1");
      }),
    );
    // n.b. suppressed, or the publish would replace what it cannot read.
    await otelContext.with(suppressTracing(ROOT_CONTEXT), () => clock.run(bus.publish(Orders, order, { headers })));
    await clock.run(bus.close());
    return { span: sdk.spans().find(({ name }) => name === "process orders"), seen };
  }

  test.for(accepted)("read: %j", async (traceparent) => {
    const { span, seen } = await handled({ traceparent, tracestate: "a=1" });
    expect(span).toMatchObject({ parent: "b7ad6b7169203331", links: [{ to: "b7ad6b7169203331" }] });
    expect(seen[1]?.["traceparent"]).toMatch(/^00-0af7651916cd43dd8448eb211c80319c-/);
    expect(seen[1]?.["tracestate"]).toBe("a=1");
  });

  test("read where it is not sampled: no span is kept, and what follows is not sampled either", async () => {
    const { span, seen } = await handled({ traceparent: given.replace(/01$/, "00") });
    expect(span).toBeUndefined();
    expect(seen[1]?.["traceparent"]).toMatch(/^00-0af7651916cd43dd8448eb211c80319c-(?!b7ad6b7169203331).{16}-00$/);
  });

  test.for(ignored)("not read, and its tracestate neither: %j", async (traceparent) => {
    const { span, seen } = await handled({ traceparent, tracestate: "a=1" });
    expect(span).toMatchObject({ parent: undefined, links: [] });
    expect(seen[0]?.["traceparent"]).toBe(traceparent);
    expect(seen[1]?.["traceparent"]).not.toContain("0af7651916cd43dd8448eb211c80319c");
    expect(seen[1]?.["tracestate"]).toBeUndefined();
  });

  test("(baggage goes out as the specification writes it)", async () => {
    const { bus, clock } = await bench();
    let baggage: string | undefined;
    await clock.run(
      bus.subscribe(Orders, { group: "billing" }, (_order, { message }) => void (baggage = message.headers["baggage"])),
    );
    const entries = { userId: { value: "Amélie" }, serverNode: { value: "DF 28" }, isProduction: { value: "false" } };
    const inside = propagation.setBaggage(ROOT_CONTEXT, propagation.createBaggage(entries));
    await otelContext.with(inside, () => clock.run(bus.publish(Orders, order)));
    await clock.run(bus.close());
    expect(baggage).toBe("userId=Am%C3%A9lie,serverNode=DF%2028,isProduction=false");
  });
});

describe("hostile headers", () => {
  const header = fc.oneof(
    fc.string({ unit: "binary", maxLength: 300 }),
    fc.constantFrom(
      given.toUpperCase(),
      `${given}-extra`,
      given.replace("00-", "ff-"),
      "00-00000000000000000000000000000000-b7ad6b7169203331-01",
      "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
      "%ZZ=%ZZ,=,;;;,a=%",
      "__proto__=1,constructor=2",
      "a=b,".repeat(5000),
      "\u0000",
      "",
    ),
  );

  test("are ignored: the handler runs, once, in a span", { timeout: 60_000 }, async () => {
    const { bus, clock } = await bench();
    let runs = 0;
    await clock.run(bus.subscribe(Orders, { group: "billing" }, () => void runs++));
    const headers = fc.record(
      { traceparent: header, tracestate: header, baggage: header, "dlq-original-traceparent": header },
      { requiredKeys: [] },
    );
    let wanted = 0;
    await fc.assert(
      fc.asyncProperty(headers, async (hostile) => {
        await clock.run(bus.publish(Orders, order, { headers: hostile }));
        wanted++;
      }),
      { numRuns: 200, seed: 5 },
    );
    await clock.run(bus.close());
    expect(runs).toBe(wanted);
    expect(sdk.spans().filter(({ name, error }) => name === "process orders" && error === undefined)).toHaveLength(
      wanted,
    );
  });
});
