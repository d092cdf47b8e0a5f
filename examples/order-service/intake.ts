// Orders over HTTP, and the two addresses that an orchestrator asks. Fetch-style, so that any server can carry it. Copy this file.
import { randomUUID } from "node:crypto";
import { type Bus, type ErrorCode, isSluiceError, type SluiceError } from "@sluice/core";
import { type Order, OrderPlaced } from "./service.ts";

export type FetchHandler = (request: Request) => Promise<Response>;

export interface IntakeOptions {
  /**
   * Names an order. Who posts the same order again with the same `idempotency-key` gets the same id, by which consumers tell
   * copies. @default the header `idempotency-key`, else a random id
   */
  readonly id?: (request: Request) => string;
}

/** Where trying again later can help, with the same key. */
const later: ReadonlySet<ErrorCode> = new Set(["UNAVAILABLE", "TIMEOUT", "REFUSED", "BACKPRESSURE", "CLOSED"]);
const longestBody = 64 * 1024;

/** `POST /orders`, `GET /livez`, `GET /readyz`. */
export function createIntake(bus: Bus, { id = givenId }: IntakeOptions = {}): FetchHandler {
  return async (request) => {
    const { pathname } = new URL(request.url);
    if (request.method === "GET" && pathname === "/livez") return bus.livez(request);
    if (request.method === "GET" && pathname === "/readyz") return bus.readyz(request);
    if (pathname !== "/orders") return problem(404, "there are POST /orders, GET /livez and GET /readyz");
    if (request.method !== "POST") return problem(405, "orders are posted", { allow: "POST" });
    return postOrder(bus, request, id(request));
  };
}

async function postOrder(bus: Bus, request: Request, id: string): Promise<Response> {
  const text = await textOf(request);
  if (text === undefined) return problem(413, `an order has at most ${longestBody} bytes`);
  try {
    // Nobody has looked at the value yet: the topic's schema does it now.
    await bus.publish(OrderPlaced, JSON.parse(text) as Order, { id });
    // Confirmed by the broker: from here on the order is not lost.
    return Response.json({ id }, { status: 202 });
  } catch (error) {
    if (error instanceof SyntaxError) return problem(400, "the body is not JSON");
    if (isSluiceError(error)) return refusal(error, id);
    throw error;
  }
}

/** `undefined` when it is too long; what is too long is not kept. */
async function textOf(request: Request): Promise<string | undefined> {
  const parts: Uint8Array[] = [];
  let size = 0;
  for await (const part of request.body ?? []) {
    size += part.length;
    if (size > longestBody) return undefined;
    parts.push(part);
  }
  return Buffer.concat(parts).toString("utf8");
}

function refusal(error: SluiceError, id: string): Response {
  if (error.code === "INVALID_PAYLOAD" || error.code === "INVALID_MESSAGE" || error.code === "TOO_LARGE") {
    return Response.json({ error: error.code, issues: error.issues }, { status: 400 });
  }
  if (!later.has(error.code)) return Response.json({ error: error.code }, { status: 500 });
  // `unknown`: it may be stored. The same id makes another attempt harmless.
  return Response.json(
    { error: error.code, id, outcome: error.outcome ?? "unknown" },
    { status: 503, headers: { "retry-after": "1" } },
  );
}

function givenId(request: Request): string {
  return request.headers.get("idempotency-key") ?? randomUUID();
}

function problem(status: number, error: string, headers: Record<string, string> = {}): Response {
  return Response.json({ error }, { status, headers });
}
