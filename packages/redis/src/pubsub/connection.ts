import {
  type Backlog,
  type BroadcastSource,
  type Capabilities,
  type ConnectContext,
  type Connection,
  DriverError,
  type Finding,
  type Limits,
  type ProvisionMode,
  type Receiver,
  type ReceiverOptions,
  type Resource,
  type Sender,
  type Source,
} from "@sluice/core/driver";
import { Cluster } from "ioredis";
import { Link } from "../client.ts";
import type { Server } from "../server.ts";
import { settled, unlessAborted } from "../waiting.ts";
import { pubsubCapabilities, pubsubLimits } from "./capabilities.ts";
import type { PubsubSettings, RedisPubsubClient } from "./options.ts";
import { PubsubReceiver } from "./receiver.ts";
import { PubsubSender } from "./sender.ts";

export interface PubsubConnectionParts {
  readonly context: ConnectContext;
  readonly settings: PubsubSettings;
  readonly link: Link;
  readonly server: Server;
  readonly opened: Map<string, number>;
}

/** One socket to publish, and one per receiver. */
export class PubsubConnection implements Connection {
  readonly capabilities: Capabilities = pubsubCapabilities;
  readonly limits: Limits = pubsubLimits;
  readonly server: string;
  readonly native: RedisPubsubClient;
  readonly closed: Promise<DriverError | undefined>;
  readonly #settled = settled<DriverError | undefined>();
  readonly #parts: PubsubConnectionParts;
  readonly #children = new Set<Sender | Receiver>();
  #closing: Promise<void> | undefined;

  constructor(parts: PubsubConnectionParts) {
    this.#parts = parts;
    this.server = parts.server.name;
    this.native = parts.link.native;
    this.closed = this.#settled.promise;
    void parts.link.closed.then((reason) => this.#settled.resolve(this.#closing ? undefined : reason));
  }

  async provision(
    _resources: readonly Resource[],
    _mode: ProvisionMode,
    _signal: AbortSignal,
  ): Promise<readonly Finding[]> {
    return [];
  }

  async sender(): Promise<Sender> {
    const { link, settings, context } = this.#parts;
    return this.#own(new PubsubSender(link, settings, `/sluice/${encodeURIComponent(context.clientName)}`));
  }

  async receiver(sources: readonly Source[], options: ReceiverOptions): Promise<Receiver> {
    const broadcasts = sources.filter((source): source is BroadcastSource => "broadcast" in source);
    if (broadcasts.length < sources.length || options.ordered) {
      throw new DriverError("UNSUPPORTED", "redis-pubsub: channels have broadcasts only; use redis() for groups");
    }
    const { context, settings, opened } = this.#parts;
    const link = await Link.open({
      settings,
      runtime: context.runtime,
      who: "redis-pubsub",
      name: `${context.clientName} subscriber`,
      ...(settings.sharded ? { sharded: true } : { node: this.#someNode() }),
    });
    const receiver = new PubsubReceiver({
      link,
      publisher: this.#parts.link,
      settings,
      context,
      options,
      sources: broadcasts,
      opened,
    });
    try {
      await receiver.start();
    } catch (error) {
      link.destroy();
      throw error;
    }
    return this.#own(receiver);
  }

  /** Nothing waits anywhere: there is nothing to tell. */
  async backlog(_source: Source, _signal: AbortSignal): Promise<Backlog> {
    return {};
  }

  async ping(signal: AbortSignal): Promise<void> {
    await this.#parts.link.ask("cannot ping", (client) => client.ping(), { signal });
  }

  close(signal: AbortSignal): Promise<void> {
    this.#closing ??= this.#close(signal);
    return this.#closing;
  }

  async #close(signal: AbortSignal): Promise<void> {
    await unlessAborted(Promise.all([...this.#children].map((child) => child.close(signal))), signal);
    this.#parts.link.destroy();
    this.#settled.resolve(undefined);
  }

  /** n.b. all nodes of a cluster have every message; the cluster's own client would change nodes without a word of what it missed. */
  #someNode(): { readonly host: string; readonly port: number } | undefined {
    const { link, context } = this.#parts;
    if (!(link.native instanceof Cluster)) return undefined;
    const masters = link.native.nodes("master");
    const { host, port } = masters[Math.floor(context.runtime.random() * masters.length)]?.options ?? {};
    return host === undefined || port === undefined ? undefined : { host, port };
  }

  #own<T extends Sender | Receiver>(child: T): T {
    this.#children.add(child);
    void child.closed.then(() => this.#children.delete(child));
    return child;
  }
}
