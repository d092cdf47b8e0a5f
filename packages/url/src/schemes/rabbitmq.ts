import type { Driver } from "@sluice/core/driver";
import type { RabbitOptions } from "@sluice/rabbitmq";
import { load } from "../load.ts";
import { type ParameterKind, read } from "../parameters.ts";
import { only, type Parts, wrong } from "../parts.ts";
import { tlsOf, tlsParameters } from "../tls.ts";

/** Options of the driver that a text can hold. */
type Written = Exclude<keyof RabbitOptions, "url" | "urls" | "username" | "password" | "tls">;

const rabbitParameters = {
  prefix: "text",
  authentication: ["plain", "external"],
  heartbeat: "number",
  queueType: ["quorum", "classic"],
  deliveryLimit: "number",
  maxMessageBytes: "number",
  consumerTimeoutMs: "number",
  ...tlsParameters,
} as const satisfies Record<Written | keyof typeof tlsParameters, ParameterKind>;

/** The path is the virtual host, decoded once: `amqp://host/%2F` and `amqp://host` are the default one. */
export async function rabbitDriver(parts: Parts): Promise<Driver> {
  const { scheme, hosts, username, password, path } = parts;
  only(parts, ["credentials", "hosts", "port", "path"], "use amqp://user:password@host:port/vhost");
  const { ca, cert, key, servername, ...values } = read(parts, rabbitParameters);
  const tls = tlsOf({ ca, cert, key, servername });
  if (tls && scheme === "amqp:") throw wrong(scheme, "a TLS parameter is given", "begin with amqps:");
  const vhost = encodeURIComponent(path);
  const named = hosts.length > 0 ? hosts : [{ name: "localhost", port: undefined }];
  const urls = named.map(({ name, port }) => `${scheme}//${name}${port === undefined ? "" : `:${port}`}/${vhost}`);
  const { rabbitmq } = await load(scheme, "@sluice/rabbitmq", () => import("@sluice/rabbitmq"));
  return rabbitmq({
    ...values,
    urls,
    ...(username !== undefined && { username }),
    ...(password !== undefined && { password }),
    ...(tls && { tls }),
  });
}
