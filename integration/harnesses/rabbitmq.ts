import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { defineHarness, type DriverVariant, type Harness, wrongSecret } from "@sluice/conformance";
import { rabbitmq } from "@sluice/rabbitmq";
import { openRawRabbit } from "./raw-rabbitmq.ts";
import { announced } from "./start.ts";

const url = process.env["RABBITMQ_URL"] ?? "amqp://localhost";

function versionOf(library: string): string {
  const file = createRequire(import.meta.url).resolve(`${library}/package.json`);
  return (JSON.parse(readFileSync(file, "utf8")) as { readonly version: string }).version;
}

function urlFor({ via, credentials }: DriverVariant): string {
  const parts = new URL(url);
  if (via) {
    parts.hostname = via.host;
    parts.port = String(via.port);
  }
  if (credentials === "wrong") parts.password = wrongSecret;
  return parts.href;
}

const { hostname, port } = new URL(url);

const harness: Harness = defineHarness({
  adapter: "@sluice/rabbitmq",
  environment: announced("rabbitmq"),
  clients: { amqplib: versionOf("amqplib") },
  driver: (variant = {}) => rabbitmq({ url: urlFor(variant), heartbeat: 5 }),
  raw: async () => openRawRabbit(url),
  timing: { leaseMs: 5_000, recoveryMs: 10_000, quietMs: 500 },
  upstream: { host: hostname, port: Number(port) || 5672 },
  parallel: 6,
});

export default harness;
