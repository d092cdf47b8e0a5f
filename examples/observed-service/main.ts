// An order on its way through six groups, watched. BROKER_URLS names the brokers, one after the other along the way; without it,
// everything is inside the process. `--serve PORT` runs the service until it is told to stop.
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { randomUUID } from "node:crypto";
import { parseArgs } from "node:util";
import { context, propagation, SpanKind, trace } from "@opentelemetry/api";
import { connect, events as channels, type SettledEvent } from "@sluice/core";
import { otel } from "@sluice/otel";
import { fromUrl } from "@sluice/url";
import { subscribe } from "node:diagnostics_channel";
import { events, groupOf, wayTo } from "./account.ts";
import { httpServer } from "./http.ts";
import { bookedFor, openLedger } from "./ledger.ts";
import { around } from "./middleware.ts";
import { type AnyBus, startService, type World } from "./service.ts";
import { spansOf } from "./telemetry.ts";
import { draw } from "./trace-view.ts";

const { values } = parseArgs({ options: { serve: { type: "string" } } });
const { BROKER_URLS, BROKER_URL = "memory://observed" } = process.env;
const urls = (BROKER_URLS ?? BROKER_URL).split(/\s+/).filter((url) => url !== "");

async function open(url: string): Promise<AnyBus> {
  const telemetry = otel(await fromUrl(url), { backlogEvery: "1s" });
  return connect(telemetry.driver, { clientName: "observed-service", middleware: around(telemetry.middleware) });
}

const buses = await Promise.all(urls.map(open));
const at = (step: number): AnyBus => {
  const bus = buses[step % buses.length];
  if (!bus) throw new Error("BROKER_URLS names no broker");
  return bus;
};

const archived = new Map<string, () => void>();
const charges: string[] = [];
/** Whether there is a mailbox for this order. */
let isKnown = (_order: string): boolean => false;
const world: World = {
  charge: (order) => void charges.push(order),
  callCourier(_order, attempt) {
    if (attempt === 1) throw new Error("no courier came");
  },
  deliver(order) {
    if (!isKnown(order)) throw new Error("no such mailbox");
  },
  archive: (order) => archived.get(order)?.(),
};

const ledger = await openLedger();
await startService(at, ledger, world);
console.error(at(0).explain());
const server = httpServer(at).listen(Number(values.serve ?? 0), "127.0.0.1");
await once(server, "listening");
const home = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

const tracer = trace.getTracer("customer");

/** A request as a customer's program makes it: it has begun a trace, and says so. */
async function post(path: string, body?: object): Promise<{ readonly status: number; readonly traceId: string }> {
  const span = tracer.startSpan(`POST ${path}`, { kind: SpanKind.CLIENT });
  const headers = { "content-type": "application/json" };
  propagation.inject(trace.setSpan(context.active(), span), headers);
  const { status } = await fetch(home + path, { method: "POST", headers, body: JSON.stringify(body ?? null) });
  span.end();
  return { status, traceId: span.spanContext().traceId };
}

/** Resolves when a message of the group had this fate. */
function fateOf(group: string, fate: SettledEvent["fate"]): Promise<void> {
  return new Promise((resolve) => {
    // A channel does not know the type of its events; the name does.
    subscribe(channels.settled.name, (event) => {
      const settled = event as SettledEvent;
      if (settled.group === group && settled.fate === fate) resolve();
    });
  });
}

async function watchOneOrder(): Promise<void> {
  const order = { id: `order-${randomUUID()}`, customer: "ada", items: ["kettle", "cups"] };
  const buried = fateOf("mailer", "dead-letter");
  const done = Promise.all([
    new Promise<void>((resolve) => archived.set(order.id, resolve)),
    fateOf("archive", "done"),
    fateOf("statistics", "done"),
  ]);
  const { status, traceId } = await post("/orders", order);
  const again = await post("/orders", order);
  await buried;
  isKnown = () => true;
  const redriven = await post(`/redrive/${order.id}`);
  await done;
  await Promise.all(buses.map((bus) => bus.drain()));
  const spans = spansOf(traceId);
  process.stderr.write(draw(spans));
  console.log(
    `ordered: ${status}, once more: ${again.status}, charged: ${charges.filter((id) => id === order.id).length}`,
  );
  console.log(`booked: ${(await bookedFor(ledger, order.id)).join()} cents`);
  console.log(`dead letters put back: ${redriven.status}`);
  console.log(`one trace: ${wayTo(spans, (span) => groupOf(span) === "archive").join(" > ")}`);
  for (const line of events(spans)) console.log(`in it: ${line}`);
}

if (values.serve === undefined) {
  await watchOneOrder();
} else {
  isKnown = (order) => !order.startsWith("nowhere");
  console.error(`listening on ${home}`);
  await Promise.all(buses.map((bus) => bus.run()));
}
server.close();
server.closeAllConnections();
await ledger.close();
