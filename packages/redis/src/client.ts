import { Cluster, Redis, type RedisOptions as ClientOptions } from "ioredis";
import { DriverError, type Runtime } from "@sluice/core/driver";
import { isUnknownScript, translate } from "./errors.ts";
import type { ConnectionSettings, Endpoint } from "./options.ts";
import type { Script } from "./scripts/script.ts";
import { bounded, settled } from "./waiting.ts";

export interface LinkParts {
  readonly settings: ConnectionSettings;
  readonly runtime: Runtime;
  /** First word of errors. */
  readonly who: string;
  /** What `CLIENT LIST` shows. */
  readonly name: string;
  readonly signal?: AbortSignal | undefined;
  /** One node of a cluster instead of the whole. */
  readonly node?: { readonly host: string; readonly port: number } | undefined;
  /** Sharded Pub/Sub follows the slots. */
  readonly sharded?: boolean;
}

export interface AskOptions {
  readonly ms?: number;
  readonly signal?: AbortSignal | undefined;
}

/** How long opening one connection may take: `connect` ends within ten seconds. */
const connectMs = 8_000;

/**
 * One client that is opened once and never reconnects: what fails is finished, and core opens another. n.b. ioredis would resend
 * what was under way, and nobody would know what was stored twice.
 */
export class Link {
  readonly native: Redis | Cluster;
  readonly closed: Promise<DriverError | undefined>;
  readonly #settled = settled<DriverError | undefined>();
  readonly #parts: LinkParts;
  #reason: DriverError | undefined;
  #last: unknown;
  #ended = false;

  private constructor(native: Redis | Cluster, parts: LinkParts) {
    this.native = native;
    this.#parts = parts;
    this.closed = this.#settled.promise;
    // n.b. without a listener ioredis writes errors to the console; what "closed" does not say is here.
    native.on("error", (error: unknown) => (this.#last = error));
    native.on("+node", (node: Redis) => node.on("error", (error: unknown) => (this.#last = error)));
    native.on("end", () =>
      this.fail(translate(this.#last ?? new Error("Connection is closed."), "connection", parts.who)),
    );
  }

  /** Connects and authenticates. @throws DriverError */
  static async open(parts: LinkParts): Promise<Link> {
    const link = new Link(makeClient(parts), parts);
    const doing = "cannot connect";
    try {
      await bounded(Promise.race([link.native.connect(), link.#endsEarly(doing)]), {
        runtime: parts.runtime,
        ms: connectMs,
        signal: parts.signal,
        late: () => late(parts, doing, connectMs),
      });
      // n.b. a client is "ready" although the server wants a password, or refused the one it got.
      await link.ask(doing, (client) => client.ping(), { ms: connectMs, signal: parts.signal });
      // n.b. ioredis goes on with database 0 when there is no such database.
      const { native } = link;
      const database = native instanceof Redis ? native.options.db : undefined;
      if (database) await link.ask(`cannot select database ${database}`, () => native.select(database));
      return link;
    } catch (error) {
      const cause = link.#last ?? error;
      link.destroy();
      throw error instanceof DriverError && error.code !== "LOST" ? error : translate(cause, doing, parts.who);
    }
  }

  /** n.b. the promise of ioredis never settles when a cluster answers, and says that it does not serve all slots: only the event comes. */
  async #endsEarly(doing: string): Promise<never> {
    const reason = await this.closed;
    const { who } = this.#parts;
    const problem = `${who}: ${doing}: the connection ended before it was ready; check that the server, or every node of the cluster, runs`;
    if (this.#last === undefined) throw new DriverError("UNAVAILABLE", problem, { cause: reason });
    throw translate(this.#last, doing, who);
  }

  get alive(): boolean {
    return !this.#ended;
  }

  /** Why it ended. */
  get reason(): DriverError {
    return this.#reason ?? new DriverError("LOST", `${this.#parts.who}: the connection is closed; open another`);
  }

  /** One answer. A server that does not give it in time is gone: half-open sockets are noticed so. @throws DriverError */
  async ask<T>(doing: string, call: (client: Redis | Cluster) => Promise<T>, options: AskOptions = {}): Promise<T> {
    const { runtime, settings, who } = this.#parts;
    const { ms = settings.answerMs, signal } = options;
    if (this.#ended) throw this.reason;
    try {
      return await bounded(call(this.native), {
        runtime,
        ms,
        signal,
        late: () => {
          if (signal?.aborted)
            return new DriverError("ABORTED", `${who}: ${doing}: the caller's signal aborted`, {
              cause: signal.reason,
            });
          const error = late(this.#parts, doing, ms);
          this.fail(error);
          return error;
        },
      });
    } catch (error) {
      const translated = translate(error, doing, who);
      // The master became a replica: only a new connection finds the new one.
      if (error instanceof Error && error.message.startsWith("READONLY")) this.fail(translated);
      throw translated;
    }
  }

  /** Runs a script by its hash, or in full where the server does not know it. */
  run(
    doing: string,
    script: Script,
    keys: readonly string[],
    args: readonly Argument[],
    options?: AskOptions,
  ): Promise<unknown> {
    const rest = [String(keys.length), ...keys, ...args];
    return this.ask(
      doing,
      async (client) => {
        try {
          return await client.callBuffer("evalsha", [script.sha, ...rest]);
        } catch (error) {
          if (!isUnknownScript(error)) throw error;
          return client.callBuffer("eval", [script.lua, ...rest]);
        }
      },
      options,
    );
  }

  /** Ends it with a reason: pending calls reject. */
  fail(reason: DriverError): void {
    if (this.#ended) return;
    this.#reason = reason;
    this.#end(reason);
  }

  /** Ends it on purpose. */
  destroy(): void {
    this.#end(undefined);
  }

  #end(reason: DriverError | undefined): void {
    if (this.#ended) return;
    this.#ended = true;
    const nodes = this.native instanceof Redis ? [this.native] : this.native.nodes("all");
    this.native.disconnect();
    // n.b. `disconnect` only half-closes: a peer that never answers would keep the socket, and the process, alive.
    for (const node of nodes) node.stream?.destroy();
    this.#settled.resolve(reason);
  }
}

/** What may be an argument of a command. */
export type Argument = string | number | Buffer;

function late({ who }: LinkParts, doing: string, ms: number): DriverError {
  return new DriverError(
    "UNAVAILABLE",
    `${who}: ${doing}: no answer within ${ms} ms; check that the server runs and can be reached`,
  );
}

type FixedOptions = Omit<ClientOptions, "replyMapping"> & { readonly replyMapping: "legacy" };

/** Every option that would make the client wait, resend or decide is off. */
function fixed(parts: LinkParts): FixedOptions {
  return {
    lazyConnect: true,
    retryStrategy: () => null,
    reconnectOnError: null,
    maxRetriesPerRequest: null,
    autoResubscribe: false,
    enableAutoPipelining: false,
    // `open` asks itself; this check writes to the console where INFO is forbidden.
    enableReadyCheck: false,
    enableOfflineQueue: true,
    connectTimeout: connectMs,
    protocol: 3,
    replyMapping: "legacy",
    // n.b. the server refuses blanks in it.
    connectionName: parts.name.replaceAll(/[^\x21-\x7e]/g, "-"),
  };
}

/** n.b. nulls: a duplicate takes over every option that is not named, and these would end or delay reads that block. */
const unwanted = { commandTimeout: undefined, socketTimeout: undefined, blockingTimeout: undefined } as const;

function makeClient(parts: LinkParts): Redis | Cluster {
  const { settings, node, sharded = false } = parts;
  const { client, cluster } = settings;
  if (client instanceof Cluster || (client === undefined && cluster.length > 0)) {
    const given = client instanceof Cluster ? client.options.redisOptions : accessOf(settings, cluster[0]);
    const { retryStrategy: _, enableOfflineQueue: __, ...common } = { ...given, ...fixed(parts), ...unwanted };
    if (node) return new Redis({ ...given, ...fixed(parts), ...unwanted, host: node.host, port: node.port });
    const options = {
      lazyConnect: true,
      clusterRetryStrategy: () => null,
      slotsRefreshTimeout: 5_000,
      shardedSubscribers: sharded,
      redisOptions: common,
      ...(settings.natMap && { natMap: settings.natMap }),
    };
    if (client instanceof Cluster) return client.duplicate([], options);
    return new Cluster(
      cluster.map(({ host, port }) => ({ host, port })),
      options,
    );
  }
  if (client) return client.duplicate({ ...fixed(parts), ...unwanted });
  return new Redis({ ...accessOf(settings, settings.endpoint), ...addressOf(settings), ...fixed(parts) });
}

function addressOf({ sentinel, endpoint, natMap }: ConnectionSettings): ClientOptions {
  if (!sentinel) return { host: endpoint.host, port: endpoint.port };
  const [first] = sentinel.endpoints;
  return {
    sentinels: sentinel.endpoints.map(({ host, port }) => ({ host, port })),
    name: sentinel.name,
    role: "master",
    sentinelRetryStrategy: () => null,
    ...(first?.username !== undefined && { sentinelUsername: first.username }),
    ...(first?.password !== undefined && { sentinelPassword: first.password }),
    ...(natMap && { natMap }),
  };
}

function accessOf({ tls }: ConnectionSettings, endpoint: Endpoint | undefined): ClientOptions {
  return {
    ...(endpoint?.username !== undefined && { username: endpoint.username }),
    ...(endpoint?.password !== undefined && { password: endpoint.password }),
    ...(endpoint?.database ? { db: endpoint.database } : {}),
    ...((tls ?? endpoint?.tls) ? { tls: tls ?? {} } : {}),
  };
}
