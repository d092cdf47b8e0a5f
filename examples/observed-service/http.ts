// The service's door: orders come in, metrics and traces can be looked at, dead letters are put back.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { json } from "node:stream/consumers";
import { context, propagation, ROOT_CONTEXT, SpanKind, SpanStatusCode, trace } from "@opentelemetry/api";
import { isSluiceError } from "@sluice/core";
import type { AnyBus } from "./service.ts";
import { answerMetrics, spansOf } from "./telemetry.ts";
import { MailRequested, type Order, OrderPlaced } from "./topics.ts";
import { draw } from "./trace-view.ts";

const tracer = trace.getTracer("observed-service");

interface Answer {
  readonly status: number;
  readonly text: string;
}

type Route = (request: IncomingMessage, rest: string) => Promise<Answer>;

/** @param at the broker of a step, from 0 */
export function httpServer(at: (step: number) => AnyBus): Server {
  const routes: Readonly<Record<string, Route>> = {
    async "POST /orders"(request) {
      const order = (await json(request)) as Order;
      // The order's id is the message's: a client that sends it twice orders once.
      await at(0).publish(OrderPlaced, order, { id: order.id, headers: { customer: order.customer } });
      return { status: 202, text: `${order.id} accepted\n` };
    },
    async "POST /redrive"(_request, flow) {
      const letters = at(4).deadLetters(MailRequested, { group: "mailer" });
      const { redriven } = await letters.redrive({
        filter: ({ headers }) => flow === "" || headers["correlation-id"] === flow,
      });
      return { status: 200, text: `${redriven} redriven\n` };
    },
    "GET /traces": async (_request, traceId) => ({ status: 200, text: draw(spansOf(traceId)) }),
  };
  return createServer((request, response) => {
    const [, first = "", rest = ""] = (request.url ?? "/").split("/");
    const route = routes[`${request.method} /${first}`];
    // Scrapes come for ever: they are no part of anybody's trace.
    if (first === "metrics") answerMetrics(request, response);
    else if (route) void traced(request, response, `${request.method} /${first}`, (r) => route(r, rest));
    else response.writeHead(404).end();
  });
}

async function traced(
  request: IncomingMessage,
  response: ServerResponse,
  name: string,
  run: (request: IncomingMessage) => Promise<Answer>,
): Promise<void> {
  const caller = propagation.extract(ROOT_CONTEXT, request.headers);
  const span = tracer.startSpan(name, { kind: SpanKind.SERVER }, caller);
  let answer: Answer;
  try {
    answer = await context.with(trace.setSpan(caller, span), () => run(request));
  } catch (error) {
    span.setStatus({ code: SpanStatusCode.ERROR });
    const code = isSluiceError(error) ? error.code : error instanceof SyntaxError ? "INVALID_PAYLOAD" : "INTERNAL";
    answer = { status: code.startsWith("INVALID_") ? 400 : 503, text: `${code}\n` };
  }
  span.end();
  response.writeHead(answer.status, { "content-type": "text/plain; charset=utf-8" }).end(answer.text);
}
