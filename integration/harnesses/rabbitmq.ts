import { defineHarness, type DriverVariant, type Harness, wrongSecret } from "@sluice/conformance";
import { rabbitmq } from "@sluice/rabbitmq";
import { openRawRabbit } from "./raw-rabbitmq.ts";
import { announced, versionOf } from "./start.ts";

const url = process.env["RABBITMQ_URL"] ?? "amqp://localhost";

function urlFor({ via, credentials }: DriverVariant): string {
  const parts = new URL(url);
  if (via) {
    parts.hostname = via.host;
    parts.port = String(via.port);
  }
  if (credentials === "wrong") parts.password = wrongSecret;
  if (credentials === "powerless") parts.username = parts.password = "powerless";
  return parts.href;
}

const consumerTimeout =
  "the broker's consumer timeout is half an hour and is checked once a minute: too long to wait for";
const { hostname, port } = new URL(url);

const harness: Harness = defineHarness({
  adapter: "@sluice/rabbitmq",
  environment: announced("rabbitmq"),
  clients: { amqplib: versionOf("amqplib") },
  driver: (variant = {}) => rabbitmq({ url: urlFor(variant), heartbeat: 5 }),
  raw: async () => openRawRabbit(url),
  // A message that was between two waiting queues when the broker stopped is sent on by it after three minutes, unless configured.
  timing: { leaseMs: 5_000, recoveryMs: 10_000, quietMs: 500, delayedLateMs: 190_000 },
  upstream: { host: hostname, port: Number(port) || 5672 },
  environmentSkips: {
    "AK-11": consumerTimeout,
    "AK-12": consumerTimeout,
  },
  ...(process.env["CONFORMANCE_POWERLESS"] && { powerless: true }),
  parallel: 6,
});

export default harness;
