import type { Driver } from "@sluice/core/driver";
import type { KafkaOptions } from "@sluice/kafka";
import { load } from "../load.ts";
import { type ParameterKind, read, type Values } from "../parameters.ts";
import { only, type Parts, wrong } from "../parts.ts";
import { tlsOf, tlsParameters } from "../tls.ts";

const mechanisms = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] as const;

/** Options of the driver that a text can hold: one that is added there does not compile here until it is in the table. */
type Written = Exclude<keyof KafkaOptions, "brokers" | "ssl" | "sasl">;

const kafkaParameters = {
  prefix: "text",
  sharedGroups: "flag",
  compression: ["none", "gzip", "snappy", "lz4", "zstd"],
  clientId: "text",
  ssl: "flag",
  mechanism: mechanisms,
  replicationFactor: "number",
  sessionTimeout: "number",
  rebalanceTimeout: "number",
  heartbeatInterval: "number",
  fetchWait: "number",
  fetchBytes: "number",
  requestTimeout: "number",
  connectionTimeout: "number",
  metadataMaxAge: "number",
  ...tlsParameters,
} as const satisfies Record<Written | "ssl" | "mechanism" | keyof typeof tlsParameters, ParameterKind>;

export async function kafkaDriver(parts: Parts): Promise<Driver> {
  const { scheme, hosts } = parts;
  only(parts, ["credentials", "hosts", "port"], "use kafka://host:port,host:port");
  if (hosts.length === 0) throw wrong(scheme, "it has no host", "use kafka://host:port,host:port");
  const { mechanism, ssl, ca, cert, key, servername, ...values } = read(parts, kafkaParameters);
  const tls = tlsOf({ ca, cert, key, servername });
  if (ssl === false && tls)
    throw wrong(scheme, "parameter ssl is false, and a TLS parameter is given", "leave one out");
  const sasl = saslOf(parts, mechanism);
  const { kafka } = await load(scheme, "@sluice/kafka", () => import("@sluice/kafka"));
  return kafka({
    ...values,
    brokers: hosts.map(({ name, port = 9092 }) => `${name}:${port}`),
    ...((tls ?? ssl) && { ssl: tls ?? true }),
    ...(sasl && { sasl }),
  });
}

function saslOf(
  { scheme, username, password }: Parts,
  mechanism: Values<typeof kafkaParameters>["mechanism"],
): KafkaOptions["sasl"] {
  if (username === undefined) {
    if (mechanism === undefined) return undefined;
    throw wrong(scheme, "parameter mechanism is given without a user name", "use kafka://user:password@host:port");
  }
  if (password === undefined)
    throw wrong(scheme, "it has a user name and no password", "use kafka://user:password@host:port");
  return { mechanism: mechanism ?? "PLAIN", username, password };
}
