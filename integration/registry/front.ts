import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createSecureServer } from "node:https";
import type { AddressInfo } from "node:net";
import { buffer } from "node:stream/consumers";
import type { Certificate } from "./tls.ts";

/** A server in front of a registry, for what the registry behind it has not: authentication and GUIDs. */
export interface Front {
  readonly url: string;
  /** `GET /path` and so on, in the order of arrival. */
  readonly requests: readonly string[];
  close(): Promise<void>;
}

export interface FrontOptions {
  /** The one `authorization` that is let through. */
  readonly authorization?: string;
  /** Answers of `/schemas/guids/…`. */
  readonly guids?: Readonly<Record<string, unknown>>;
  /** Put into answers with that id. */
  readonly guidOfIds?: Readonly<Record<number, string>>;
  /** Speaks HTTPS with it. */
  readonly certificate?: Certificate;
}

/** Lets through what it does not answer itself. */
export async function front(registry: string, options: FrontOptions = {}): Promise<Front> {
  const requests: string[] = [];
  const { certificate } = options;
  const listener = (request: IncomingMessage, response: ServerResponse): void => {
    requests.push(`${request.method} ${request.url}`);
    void answer(registry, options, request, response).catch((error: unknown) => response.destroy(error as Error));
  };
  const server = certificate ? createSecureServer(certificate, listener) : createServer(listener);
  await once(server.listen(0, "127.0.0.1"), "listening");
  const { port } = server.address() as AddressInfo;
  return { url: `${certificate ? "https" : "http"}://127.0.0.1:${port}`, requests, close: () => closed(server) };
}

async function answer(
  registry: string,
  options: FrontOptions,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const { authorization, guids = {}, guidOfIds = {} } = options;
  if (authorization !== undefined && request.headers.authorization !== authorization) {
    return send(response, 401, { error_code: 401, message: `Unauthorized: ${request.headers.authorization}` });
  }
  const [, guid] = /^\/schemas\/guids\/([^/]+)$/.exec(request.url ?? "") ?? [];
  if (guid !== undefined && guids[guid]) return send(response, 200, guids[guid]);
  const body = request.method === "GET" ? undefined : await buffer(request);
  const headers = { "content-type": request.headers["content-type"] ?? "application/json" };
  const behind = await fetch(`${registry}${request.url}`, {
    method: request.method ?? "GET",
    headers,
    ...(body && { body }),
  });
  const found = (await behind.json()) as { readonly id?: number };
  const added = guidOfIds[found.id ?? -1];
  send(response, behind.status, added === undefined ? found : { ...found, guid: added });
}

function send(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { "content-type": "application/vnd.schemaregistry.v1+json" }).end(JSON.stringify(body));
}

async function closed(server: Server): Promise<void> {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
}
