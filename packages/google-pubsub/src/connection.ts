import {
  type Backlog,
  type Capabilities,
  type ConnectContext,
  type Connection,
  type DeadLetterSource,
  type Delivery,
  DriverError,
  type Finding,
  type GroupSource,
  type Limits,
  type Position,
  type ProvisionMode,
  type Receiver,
  type ReceiverOptions,
  type Resource,
  type Sender,
  type Source,
} from "@sluice/core/driver";
import { browse } from "./browse.ts";
import { Broadcasts, type OpenBroadcast } from "./broadcasts.ts";
import { capabilities, limits } from "./capabilities.ts";
import type { Channels } from "./channels.ts";
import { DeadLetterReceiver } from "./dead-letters.ts";
import { status, statusOf } from "./errors.ts";
import type { LaneSpec } from "./lane.ts";
import { methods } from "./methods.ts";
import { type Names, shortName, subscriptionPath } from "./names.ts";
import type { GooglePubsubClient, Settings } from "./options.ts";
import { each, factsOf, lookUp, provision, type SubscriptionFacts } from "./provision.ts";
import { GooglePubsubReceiver } from "./receiver.ts";
import { Routes } from "./routes.ts";
import { toSeek } from "./seek.ts";
import { GooglePubsubSender } from "./sender.ts";
import { settled } from "./settled.ts";

export interface ConnectionParts {
  readonly context: ConnectContext;
  readonly settings: Settings;
  readonly names: Names;
  readonly channels: Channels;
  readonly client: GooglePubsubClient;
  readonly project: string;
  readonly emulator: boolean;
}

/** The shortest lease: of a subscription that nobody may look at no more can be assumed. */
const assumedLeaseMs = 10_000;

/** gRPC heals its sockets by itself, and a lease outlives them: so this lasts until it is closed. */
export class GooglePubsubConnection implements Connection {
  readonly capabilities: Capabilities = capabilities;
  readonly limits: Limits;
  readonly server: string;
  readonly native: GooglePubsubClient;
  readonly closed: Promise<DriverError | undefined>;
  readonly #settled = settled<DriverError | undefined>();
  readonly #parts: ConnectionParts;
  readonly #routes: Routes;
  readonly #broadcasts: Broadcasts;
  readonly #children = new Set<Sender | Receiver>();
  /** What is known of subscriptions, until one of them turns out to be gone. */
  readonly #facts = new Map<string, SubscriptionFacts>();
  /** Resources that were there once. */
  readonly #seen = new Set<string>();
  /** Groups that are read here, with how many receivers. */
  readonly #members = new Map<string, number>();
  #closing: Promise<void> | undefined;

  constructor(parts: ConnectionParts) {
    const { channels, context, names, project, settings, emulator } = parts;
    const { runtime } = context;
    this.#parts = parts;
    this.limits = limits(settings);
    this.server = emulator ? "Google Pub/Sub emulator" : "Google Cloud Pub/Sub";
    this.native = parts.client;
    this.closed = this.#settled.promise;
    this.#routes = new Routes(channels, runtime, names, project);
    const report = (event: Parameters<ConnectContext["report"]>[0]) => context.report(event);
    this.#broadcasts = new Broadcasts({ channels, runtime, names, project, settings, emulator, report });
  }

  async provision(
    resources: readonly Resource[],
    mode: ProvisionMode,
    signal: AbortSignal,
  ): Promise<readonly Finding[]> {
    const { channels, context, project, emulator } = this.#parts;
    const findings = await provision(resources, mode, signal, {
      channels,
      runtime: context.runtime,
      project,
      emulator,
      seen: (found) => this.#facts.set(found.name ?? "", factsOf(found)),
    });
    const made = findings.filter(({ state, resource }) => state === "created" && this.#seen.has(resource.name));
    if (made.length > 0) {
      const which = made.map(({ resource }) => resource.name).join(", ");
      const detail = `google-pubsub: ${which} had been deleted and was made again; what it held is lost`;
      context.report({ kind: "recreated", count: made.length, detail });
      this.#routes.forget();
    }
    if (mode !== "assume") for (const { name } of resources) this.#seen.add(name);
    return findings;
  }

  sweep(signal: AbortSignal): Promise<number> {
    return this.#broadcasts.sweep(signal);
  }

  async sender(): Promise<Sender> {
    const { channels, context } = this.#parts;
    // What was there before may have gone since the last one.
    this.#routes.forget();
    return this.#own(new GooglePubsubSender(channels, this.#routes, context.runtime));
  }

  async receiver(sources: readonly Source[], options: ReceiverOptions): Promise<Receiver> {
    const { channels, context, emulator, settings } = this.#parts;
    const { runtime } = context;
    const [first] = sources;
    if (first?.topic !== undefined && "deadLetter" in first && first.deadLetter) {
      const subscription = this.#path(this.#parts.names.deadLetters(first.topic, first.group));
      const { leaseMs, exactlyOnce } = await this.#lookUp(subscription);
      const leased = { subscription, leaseMs, exactlyOnce };
      return this.#own(new DeadLetterReceiver({ channels, runtime, options, source: first, leased }));
    }
    const opened: OpenBroadcast[] = [];
    const closing = async (signal: AbortSignal) => {
      await Promise.all(opened.map((broadcast) => broadcast.close(signal)));
    };
    try {
      const specs = await each(sources, (source) => this.#specs(source, options, opened));
      const parts = { channels, runtime, options, intake: settings.intake, flowControl: !emulator, closing };
      const receiver = new GooglePubsubReceiver(specs.flat(), parts);
      this.#join(receiver, sources, specs.flat());
      const unseen = specs.flat().some(({ subscription }) => this.#facts.get(subscription)?.assumed);
      const refused = unseen ? await receiver.begun : undefined;
      if (refused) throw refused;
      return this.#own(receiver);
    } catch (error) {
      await closing(AbortSignal.abort());
      throw error;
    }
  }

  async backlog(source: Source, _signal: AbortSignal): Promise<Backlog> {
    // n.b. only Cloud Monitoring knows, minutes later. Nothing here counts what waits.
    if (source.topic !== undefined && "group" in source && !source.deadLetter) {
      await this.#lookUp(this.#path(this.#parts.names.group(source.topic, source.group)));
    }
    return {};
  }

  async browse(
    source: DeadLetterSource,
    after: string | undefined,
    max: number,
    signal: AbortSignal,
  ): Promise<{ readonly deliveries: readonly Delivery[]; readonly next: string | undefined }> {
    const { channels, context, names } = this.#parts;
    const subscription = this.#path(names.deadLetters(source.topic, source.group));
    return browse({ channels, runtime: context.runtime, signal, source, subscription }, after, max);
  }

  async seek(source: GroupSource, to: Position, signal: AbortSignal): Promise<void> {
    const { channels, context, names, project } = this.#parts;
    const subscription = this.#path(names.group(source.topic, source.group));
    // Other processes cannot be seen; the service lets it happen, and hands out again what they hold.
    if ((this.#members.get(subscription) ?? 0) > 0) {
      throw new DriverError(
        "BUSY",
        `google-pubsub: group "${source.group}" of topic "${source.topic}" is being read here; close its subscriptions first`,
      );
    }
    this.#facts.delete(subscription);
    const { retainAcked } = await this.#lookUp(subscription);
    const position = toSeek(source, to, { project, wallMs: context.runtime.wallMs(), retainAcked });
    const doing = `cannot seek group "${source.group}" of topic "${source.topic}"`;
    await channels.call(methods.seek, { subscription, ...position }, { doing, signal });
  }

  ping(signal: AbortSignal): Promise<void> {
    return this.#parts.channels.ping({ signal });
  }

  close(signal: AbortSignal): Promise<void> {
    this.#closing ??= this.#close(signal);
    return this.#closing;
  }

  async #close(signal: AbortSignal): Promise<void> {
    const { channels, client, settings } = this.#parts;
    await Promise.all([...this.#children].map((child) => child.close(signal)));
    channels.close();
    if (!settings.client) await client.close().catch(() => undefined);
    this.#settled.resolve(undefined);
  }

  /** The subscriptions behind a source. @throws DriverError NOT_FOUND | MISMATCH | UNSUPPORTED */
  async #specs(source: Source, options: ReceiverOptions, opened: OpenBroadcast[]): Promise<readonly LaneSpec[]> {
    const { names } = this.#parts;
    if (source.topic === undefined) return [await this.#spec(source, names.waiting())];
    if ("broadcast" in source) {
      const broadcast = await this.#broadcasts.open(source);
      opened.push(broadcast);
      return [{ source, subscription: broadcast.subscription, ...broadcast.facts, filter: source.filter }];
    }
    if (source.deadLetter) {
      throw new DriverError("CONFIG", `google-pubsub: dead letters of "${source.topic}" need a receiver of their own`);
    }
    if (source.start === "earliest") {
      throw new DriverError(
        "UNSUPPORTED",
        `google-pubsub: group "${source.group}" cannot begin with what was sent before it existed; use start: 'now', or declare the group first`,
      );
    }
    const main = await this.#spec(source, names.group(source.topic, source.group), options.ordered);
    const entry = await this.#spec(source, names.entry(source.topic, source.group));
    // The filter never holds for the own entry: what is there was ours before.
    return [{ ...main, filter: source.filter }, entry];
  }

  async #spec(source: Source, name: string, ordered = false): Promise<LaneSpec> {
    const subscription = this.#path(name);
    const facts = await this.#lookUp(subscription);
    if (ordered && !facts.ordered) {
      throw new DriverError(
        "MISMATCH",
        `google-pubsub: subscription "${name}" keeps no order; declare the topic ordered, with a new group`,
      );
    }
    return { source, subscription, leaseMs: facts.leaseMs, exactlyOnce: facts.exactlyOnce };
  }

  async #lookUp(subscription: string): Promise<SubscriptionFacts> {
    const { channels, settings } = this.#parts;
    const known = this.#facts.get(subscription);
    if (known) return known;
    const { exactlyOnce, retainAcked } = settings;
    const found = (await lookUp(subscription, shortName(subscription), channels)) ?? {
      leaseMs: assumedLeaseMs,
      exactlyOnce,
      ordered: true,
      retainAcked,
      assumed: true,
    };
    this.#facts.set(subscription, found);
    return found;
  }

  /** Counts the members of groups, and forgets what is known of subscriptions when one of them has gone. */
  #join(receiver: Receiver, sources: readonly Source[], specs: readonly LaneSpec[]): void {
    const groups = sources.flatMap((source) =>
      source.topic !== undefined && "group" in source
        ? [this.#path(this.#parts.names.group(source.topic, source.group))]
        : [],
    );
    const count = (by: number) => {
      for (const group of groups) this.#members.set(group, (this.#members.get(group) ?? 0) + by);
    };
    count(1);
    void receiver.closed.then((error) => {
      count(-1);
      if (error === undefined) return;
      for (const { subscription } of specs) this.#facts.delete(subscription);
      if (statusOf(error) === status.notFound) this.#routes.forget();
    });
  }

  #path(name: string): string {
    return subscriptionPath(this.#parts.project, name);
  }

  #own<T extends Sender | Receiver>(child: T): T {
    this.#children.add(child);
    void child.closed.then(() => this.#children.delete(child));
    return child;
  }
}
