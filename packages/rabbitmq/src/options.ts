import type { ChannelModel, GetMessage, ConsumeMessage } from "amqplib";
import { DriverError } from "@sluice/core/driver";

/** What `rabbitmq()` takes. A plain object, so that it can come from a configuration file. */
export interface RabbitOptions {
  /** `amqp://user:password@host:port/vhost` or `amqps://…`. Percent-encode the vhost. @default "amqp://localhost" */
  readonly url?: string;
  /** Several nodes of one cluster, tried in turn. Instead of `url`. */
  readonly urls?: readonly string[];
  /** User name, instead of the one in the url. */
  readonly username?: string;
  /** Password, instead of the one in the url. */
  readonly password?: string;
  /** `external`: the user is the one of the client certificate. @default "plain" */
  readonly authentication?: "plain" | "external";
  /** Put before the name of every exchange and queue, those of the delay ladder too. At most 60 bytes. @default "" */
  readonly prefix?: string;
  /** Seconds between heartbeats; a dead peer is noticed after two to three. 5 to 20 is sensible. @default 10 */
  readonly heartbeat?: number;
  /** For `amqps`: certificate authority, client certificate and key (PEM), and the name to verify. */
  readonly tls?: RabbitTls;
  /** Type of the groups' queues. `classic` has no delivery counts and is not replicated. @default "quorum" */
  readonly queueType?: "quorum" | "classic";
  /** Deliveries after which the broker itself dead-letters: the net under our own attempts. At least 20. @default 50 */
  readonly deliveryLimit?: number;
  /** The broker's `max_message_size` in bytes. @default 16777216 */
  readonly maxMessageBytes?: number;
  /** The broker's `consumer_timeout` in milliseconds: how long a delivery may stay unsettled. @default 1800000 */
  readonly consumerTimeoutMs?: number;
}

export interface RabbitTls {
  readonly ca?: string | Buffer | readonly (string | Buffer)[];
  readonly cert?: string | Buffer;
  readonly key?: string | Buffer;
  readonly passphrase?: string;
  readonly servername?: string;
  /** @default true */
  readonly rejectUnauthorized?: boolean;
}

/** `context.native`: amqplib's message, with a content of its own. */
export type RabbitMessage = ConsumeMessage | GetMessage;

/** `bus.native`: amqplib's two connections. Open channels of your own on them; never close them. */
export interface RabbitClient {
  readonly publish: ChannelModel;
  readonly consume: ChannelModel;
}

/** Where to connect to, taken apart once, so that no url (and no password) reaches an error message. */
export interface Endpoint {
  readonly protocol: "amqp" | "amqps";
  readonly hostname: string;
  readonly port: number;
  readonly vhost: string;
  readonly username: string;
  readonly password: string;
  readonly heartbeat: number | undefined;
}

/** The options with every default in place. */
export interface Settings {
  readonly endpoints: readonly Endpoint[];
  readonly authentication: "plain" | "external";
  readonly prefix: string;
  readonly heartbeat: number;
  readonly tls: RabbitTls;
  readonly queueType: "quorum" | "classic";
  readonly deliveryLimit: number;
  readonly maxMessageBytes: number;
  readonly consumerTimeoutMs: number;
}

/** Queue names end at 255 bytes, and topic and group need most of them. */
const longestPrefix = 60;

/** Checks the options and fills in the defaults. @throws DriverError CONFIG */
export function settings(options: RabbitOptions): Settings {
  const { url = "amqp://localhost", urls = [url] } = options;
  if (urls.length === 0) throw wrong("urls is empty", "name at least one node");
  return {
    endpoints: urls.map((each) => endpoint(each, options)),
    authentication: options.authentication ?? "plain",
    prefix: checkedPrefix(options.prefix ?? ""),
    heartbeat: range("heartbeat", options.heartbeat ?? 10, 1, 60),
    tls: options.tls ?? {},
    queueType: options.queueType ?? "quorum",
    // Below 20 the net would catch messages that core still wants to try or to convict of a crash.
    deliveryLimit: range("deliveryLimit", options.deliveryLimit ?? 50, 20, 1_000_000),
    maxMessageBytes: range("maxMessageBytes", options.maxMessageBytes ?? 16_777_216, 1, 536_870_912),
    consumerTimeoutMs: range(
      "consumerTimeoutMs",
      options.consumerTimeoutMs ?? 1_800_000,
      10_000,
      Number.MAX_SAFE_INTEGER,
    ),
  };
}

function checkedPrefix(prefix: string): string {
  if (Buffer.byteLength(prefix) > longestPrefix)
    throw wrong(`prefix has ${Buffer.byteLength(prefix)} bytes`, `use ${longestPrefix} at most`);
  if (prefix.startsWith("amq.")) throw wrong(`prefix "${prefix}" belongs to the broker`, "use another one");
  return prefix;
}

function endpoint(url: string, options: RabbitOptions): Endpoint {
  // n.b. the error of `new URL` carries the whole url, password included: it must not become a cause.
  const parts = URL.parse(url);
  if (!parts) throw wrong("url cannot be parsed", "use amqp://user:password@host:port/vhost");
  const protocol = parts.protocol === "amqp:" ? "amqp" : parts.protocol === "amqps:" ? "amqps" : undefined;
  if (!protocol) throw wrong(`url begins with "${parts.protocol}"`, "use amqp: or amqps:");
  const heartbeat = parts.searchParams.get("heartbeat");
  return {
    protocol,
    hostname: parts.hostname.replace(/^\[|\]$/g, "") || "localhost",
    port: Number(parts.port) || (protocol === "amqp" ? 5672 : 5671),
    vhost: decode(parts.pathname.slice(1)) || "/",
    username: options.username ?? (decode(parts.username) || "guest"),
    password: options.password ?? (parts.username || parts.password ? decode(parts.password) : "guest"),
    heartbeat: heartbeat === null ? undefined : range("heartbeat", Number(heartbeat), 1, 60),
  };
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    throw wrong("url has a broken percent-encoding", "encode user, password and vhost with encodeURIComponent");
  }
}

function range(name: string, value: number, low: number, high: number): number {
  if (Number.isInteger(value) && value >= low && value <= high) return value;
  throw wrong(`${name} is ${value}`, `use a whole number from ${low} to ${high}`);
}

function wrong(what: string, todo: string): DriverError {
  return new DriverError("CONFIG", `rabbitmq: ${what}; ${todo}`);
}
