import { type ConnectContext, type Connection, type Driver, DriverError } from "@sluice/core/driver";
import {
  atLeast,
  capabilities,
  classicCapabilities,
  type ClassicCapabilities,
  type RabbitCapabilities,
} from "./capabilities.ts";
import { RabbitConnection } from "./connection.ts";
import { Link, serverOf } from "./link.ts";
import { names as makeNames } from "./names.ts";
import {
  type Endpoint,
  type RabbitClient,
  type RabbitMessage,
  type RabbitOptions,
  settings as makeSettings,
} from "./options.ts";
import { topology } from "./topology.ts";

/** `connect` ends within ten seconds; the rest is for what comes after the sockets. */
const connectMs = 9_000;

/** These are the same on every node. */
const final: ReadonlySet<string> = new Set(["UNAUTHORIZED", "FORBIDDEN", "NOT_FOUND", "CONFIG", "ABORTED"]);

/**
 * Sluice on RabbitMQ 3.10 to 4.3: `connect(rabbitmq({ url: 'amqp://localhost' }))`.
 *
 * @throws DriverError CONFIG when an option is wrong.
 */
export function rabbitmq(
  options: RabbitOptions & { readonly queueType: "classic" },
): Driver<ClassicCapabilities, RabbitMessage, RabbitClient>;
export function rabbitmq(options?: RabbitOptions): Driver<RabbitCapabilities, RabbitMessage, RabbitClient>;
export function rabbitmq(
  options: RabbitOptions = {},
): Driver<RabbitCapabilities | ClassicCapabilities, RabbitMessage, RabbitClient> {
  const settings = makeSettings(options);
  const names = makeNames(settings.prefix);
  const floor = settings.queueType === "classic" ? classicCapabilities : capabilities;
  const broadcasts = new Map<string, number>();
  return {
    name: "rabbitmq",
    system: "rabbitmq",
    capabilities: floor,
    topology: (declaration) => topology(declaration, names, settings),
    async connect(context): Promise<Connection> {
      const open = (endpoint: Endpoint, name: string, ms: number) =>
        Link.open(endpoint, { runtime: context.runtime, settings, name, signal: context.signal, ms });
      const { publish, consume } = await firstThatAnswers(settings.endpoints, context, open);
      return new RabbitConnection({ context, settings, names, floor, publish, consume, broadcasts });
    },
  };
}

type Open = (endpoint: Endpoint, name: string, ms: number) => Promise<Link>;

/** Tries the nodes in turn from a random one, so that the instances spread over the cluster. */
async function firstThatAnswers(
  endpoints: readonly Endpoint[],
  { runtime, clientName }: ConnectContext,
  open: Open,
): Promise<{ readonly publish: Link; readonly consume: Link }> {
  const untilMs = runtime.monotonicMs() + connectMs;
  const first = Math.floor(runtime.random() * endpoints.length);
  let last: unknown;
  for (let index = 0; index < endpoints.length; index++) {
    const endpoint = endpoints[(first + index) % endpoints.length];
    const ms = Math.round(Math.max(500, (untilMs - runtime.monotonicMs()) / (endpoints.length - index) / 2));
    if (!endpoint) continue;
    let consume: Link | undefined;
    try {
      consume = await open(endpoint, `${clientName} consume`, ms);
      checkVersion(consume);
      return { consume, publish: await open(endpoint, `${clientName} publish`, ms) };
    } catch (error) {
      consume?.destroy(undefined);
      last = error;
      if (error instanceof DriverError && final.has(error.code)) break;
    }
  }
  throw last;
}

/** n.b. before 3.10 a quorum queue dead-letters at most once: what is delayed could be lost. */
function checkVersion(link: Link): void {
  const { product, version } = serverOf(link);
  if (product !== "RabbitMQ" || atLeast(version, 3, 10)) return;
  throw new DriverError(
    "UNSUPPORTED",
    `rabbitmq: the server is ${product} ${version}; 3.10 or newer is needed: upgrade it`,
  );
}
