import { createServer, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { isSluiceError, nodeRuntime } from "@sluice/core";
import { type Registry, registry } from "@sluice/schema/registry";
import { Chance } from "../chance.ts";
import { hostileText } from "../hostile.ts";
import { sample, type Sample, type Target } from "../target.ts";

const schema = '{"type":"record","name":"Order","fields":[{"name":"id","type":"string"}]}';
const entry = { subject: "orders-value", version: 1, schemaType: "AVRO", schema };
const guid = "8ef66e27-50c8-4f9d-ac73-0b7de2e6ec7a";

/** What is asked, and an answer that fits. */
const calls: readonly (readonly [answer: unknown, call: (client: Registry) => Promise<unknown>])[] = [
  [{ id: 1, guid }, (client) => client.register("orders-value", { schemaType: "AVRO", schema })],
  [{ id: 1, guid, ...entry }, (client) => client.find("orders-value", { schemaType: "AVRO", schema })],
  [{ id: 1, guid, ...entry }, (client) => client.version("orders-value", 1)],
  [{ id: 1, ...entry }, (client) => client.latest("orders-value")],
  [
    { schema, schemaType: "AVRO", references: [{ name: "a", subject: "orders-value", version: 1 }] },
    (client) => client.resolved({ id: 1 }),
  ],
  [{ schema }, (client) => client.resolved({ guid })],
  [
    { is_compatible: false, messages: ["no default"] },
    (client) => client.check("orders-value", { schemaType: "AVRO", schema }),
  ],
  [{ compatibilityLevel: "BACKWARD" }, (client) => client.compatibility("orders-value")],
  [["orders-value", "other-value"], (client) => client.subjects()],
  [[1, 2, 3], (client) => client.versions("orders-value")],
  [{ error_code: 40401, message: "Subject not found" }, (client) => client.versions("orders-value")],
];
const golden = calls.map(([answer], index) => sample(JSON.stringify(answer), { call: String(index) }));

/** A registry that answers anything: a real server, so that HTTP itself is part of what is tried. */
export async function registryTarget(): Promise<Target> {
  let current: Sample = { bytes: Buffer.alloc(0), headers: {}, seed: 0 };
  const server = createServer((request, response) => {
    request.resume();
    request.once("end", () => answer(response, current));
  });
  await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/api`;
  return {
    name: "schema: registry client",
    golden,
    weight: 0.25,
    // It is down half of the time.
    expected: (error) => isSluiceError(error),
    async run(given) {
      current = given;
      const client = registry({
        url,
        retry: { attempts: 1 },
        timeout: "2s",
        maxAnswerBytes: 256 * 1024,
        runtime: nodeRuntime,
      });
      const [, call] = calls[Number(given.headers["call"])] ?? new Chance(given.seed).pick(calls);
      await call(client);
    },
    close: () => closed(server),
  };
}

function answer(response: ServerResponse, { bytes, seed }: Sample): void {
  const chance = new Chance(seed + 1);
  const status = chance.pick([
    200, 200, 200, 200, 201, 204, 304, 400, 401, 403, 404, 409, 418, 422, 429, 500, 502, 503,
  ]);
  if (chance.once(40)) return void response.destroy();
  response.statusCode = status;
  response.setHeader(
    "content-type",
    chance.pick(["application/vnd.schemaregistry.v1+json", "text/html", "application/json"]),
  );
  if (chance.once(10)) response.setHeader("retry-after", headerText(chance));
  if (chance.once(20)) response.setHeader("content-encoding", chance.pick(["gzip", "br", "x"]));
  if (chance.once(20)) response.setHeader("location", headerText(chance));
  if (chance.once(40)) {
    // Promises more than it sends.
    response.setHeader("content-length", String(bytes.length + 1));
    return void response.write(bytes.subarray(0, -1), () => response.destroy());
  }
  response.end(chance.once(60) ? Buffer.alloc(512 * 1024, 0x5b) : bytes);
}

/** What Node's server is willing to send. */
function headerText(chance: Chance): string {
  return hostileText(chance)
    .replaceAll(/[^\t\x20-\x7e]/g, "")
    .slice(0, 2000);
}

function closed(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}
