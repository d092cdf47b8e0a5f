import type {
  Backlog,
  BroadcastSource,
  Capabilities,
  ConnectContext,
  Connection,
  DeadLetterSource,
  Delivery,
  Finding,
  Limits,
  ProvisionMode,
  Receiver,
  ReceiverOptions,
  Resource,
  Sender,
  Source,
} from "@sluice/core/driver";
import { DriverError } from "@sluice/core/driver";
import { Balance } from "./balance.ts";
import { browse } from "./browse.ts";
import { limits, refine } from "./capabilities.ts";
import { openChannel, openConfirmChannel } from "./channel.ts";
import { DeadLetterReceiver } from "./dead-letters.ts";
import { replyCode, translate } from "./errors.ts";
import { Groups } from "./groups.ts";
import { type Link, serverOf } from "./link.ts";
import type { Names } from "./names.ts";
import type { RabbitClient, Settings } from "./options.ts";
import { provision } from "./provision.ts";
import { type Lease, RabbitReceiver } from "./receiver.ts";
import { Routes } from "./routes.ts";
import { RabbitSender } from "./sender.ts";
import { lanesOf } from "./sources.ts";
import { attempt, settled } from "./waiting.ts";

export interface ConnectionParts {
  readonly context: ConnectContext;
  readonly settings: Settings;
  readonly names: Names;
  readonly floor: Capabilities;
  /** n.b. an alarm stops the reading of a whole publishing socket, acknowledgements on it included: hence two. */
  readonly publish: Link;
  readonly consume: Link;
  /** How often each broadcast instance was opened before, over all connections. */
  readonly broadcasts: Map<string, number>;
}

/** Time between the end of our hold and the broker's own time limit. */
const leaseMarginMs = 120_000;

/** Two sockets that live and die together. */
export class RabbitConnection implements Connection {
  readonly capabilities: Capabilities;
  readonly limits: Limits;
  readonly server: string;
  readonly native: RabbitClient;
  readonly closed: Promise<DriverError | undefined>;
  readonly #settled = settled<DriverError | undefined>();
  readonly #parts: ConnectionParts;
  readonly #groups: Groups;
  readonly #routes: Routes;
  readonly #children = new Set<Sender | Receiver>();
  /** What we may make again when somebody deletes it under a living connection. */
  readonly #ours = new Map<string, Resource>();
  #closing: Promise<void> | undefined;

  constructor(parts: ConnectionParts) {
    const { publish, consume, settings, context, names, floor } = parts;
    const { product, version, frameMax } = serverOf(consume);
    this.#parts = parts;
    this.capabilities = refine(floor, settings, version);
    this.limits = limits(settings, frameMax);
    this.server = `${product} ${version}`;
    this.native = { publish: publish.native, consume: consume.native };
    this.closed = this.#settled.promise;
    // Asked on the consuming socket: during an alarm the other one gets no answers.
    this.#groups = new Groups(consume, context.runtime, names);
    this.#routes = new Routes(names, this.#groups, context.runtime);
    for (const [link, other] of [
      [publish, consume],
      [consume, publish],
    ] as const) {
      void link.closed.then((reason) => {
        other.destroy(reason);
        this.#settled.resolve(this.#closing ? undefined : reason);
      });
    }
    this.#reportBlocked();
  }

  async provision(
    resources: readonly Resource[],
    mode: ProvisionMode,
    signal: AbortSignal,
  ): Promise<readonly Finding[]> {
    if (mode === "create")
      for (const resource of resources) this.#ours.set(`${resource.kind} ${resource.name}`, resource);
    return provision(resources, { groups: this.#groups, mode, signal });
  }

  async sender(): Promise<Sender> {
    const { publish, context } = this.#parts;
    const channel = await openConfirmChannel(publish, context.runtime, "cannot send");
    // What was there before may have gone with the last channel.
    this.#groups.forget();
    const longestHeaders = this.limits.headersBytes + 12 * 1024;
    return this.#own(new RabbitSender({ channel, link: publish, routes: this.#routes, longestHeaders }));
  }

  async receiver(sources: readonly Source[], options: ReceiverOptions): Promise<Receiver> {
    try {
      return await this.#receiver(sources, options);
    } catch (error) {
      if (!(error instanceof DriverError) || error.code !== "NOT_FOUND" || !(await this.#restore())) throw error;
      return this.#receiver(sources, options);
    }
  }

  /** Makes deleted resources again, and says so: what was in them is lost. */
  async #restore(): Promise<boolean> {
    const findings = await this.provision([...this.#ours.values()], "create", new AbortController().signal);
    const made = findings.filter(({ state }) => state === "created").map(({ resource }) => resource.name);
    if (made.length === 0) return false;
    const detail = `rabbitmq: ${made.join(", ")} had been deleted and was made again; what it held is lost`;
    this.#parts.context.report({ kind: "recreated", count: made.length, detail });
    return true;
  }

  async #receiver(sources: readonly Source[], options: ReceiverOptions): Promise<Receiver> {
    const { consume, context, names, settings } = this.#parts;
    const { runtime } = context;
    const [first, ...others] = sources;
    if (first && "deadLetter" in first && first.deadLetter && others.length === 0)
      return this.#own(await this.#deadLetters(first, options));
    const parts = {
      names,
      groups: this.#groups,
      quorum: settings.queueType === "quorum",
      freeReturns: this.capabilities.release !== "absent" && !this.capabilities.release.counted,
      ordered: options.ordered,
      opened: (source: BroadcastSource) => this.#opened(source),
    };
    const lanes = [];
    for (const source of sources) lanes.push(...(await lanesOf(source, parts)));
    const receiver = await RabbitReceiver.open(lanes, {
      link: consume,
      runtime,
      lease: this.#lease,
      options,
      depth: (queue) => this.#depth(queue),
    });
    if (options.ordered) this.#balance(receiver, sources);
    return this.#own(receiver);
  }

  async backlog(source: Source, signal: AbortSignal): Promise<Backlog> {
    const queues = await this.#queuesOf(source, signal);
    let ready = 0;
    for (const queue of queues) ready += await this.#depth(queue, signal);
    // n.b. the broker tells over AMQP what waits, not what is out.
    return queues.length > 0 ? { ready } : {};
  }

  async browse(
    source: DeadLetterSource,
    after: string | undefined,
    max: number,
    signal: AbortSignal,
  ): Promise<{ readonly deliveries: readonly Delivery[]; readonly next: string | undefined }> {
    const { consume, context, names } = this.#parts;
    const queue = names.deadLetters(source.topic, source.group);
    return browse(
      { link: consume, runtime: context.runtime, signal, source, queue, depth: () => this.#depth(queue, signal) },
      after,
      max,
    );
  }

  async ping(signal: AbortSignal): Promise<void> {
    try {
      await this.#groups.ask("cannot ping", (channel) => channel.prefetch(0), signal);
    } catch (error) {
      throw translate(error, "cannot ping");
    }
  }

  close(signal: AbortSignal): Promise<void> {
    this.#closing ??= this.#close(signal);
    return this.#closing;
  }

  async #close(signal: AbortSignal): Promise<void> {
    const { publish, consume, context } = this.#parts;
    await Promise.all([...this.#children].map((child) => child.close(signal)));
    await attempt(this.#groups.close(), { runtime: context.runtime, doing: "cannot close", signal });
    await Promise.all([publish.close(signal), consume.close(signal)]);
    this.#settled.resolve(undefined);
  }

  /** Ordered queues have one active consumer each: without this the first instance would have them all. */
  #balance(receiver: RabbitReceiver, sources: readonly Source[]): void {
    const { consume, context, names } = this.#parts;
    for (const source of sources) {
      if (source.topic === undefined || !("group" in source)) continue;
      const lanes = receiver.lanesOf(source);
      if (lanes.length < 2) continue;
      const balance = new Balance({
        link: consume,
        runtime: context.runtime,
        lanes,
        members: names.members(source.topic, source.group),
      });
      void receiver.closed.then(() => balance.end());
    }
  }

  async #deadLetters(source: DeadLetterSource, options: ReceiverOptions): Promise<Receiver> {
    const { consume, context, names } = this.#parts;
    const { runtime } = context;
    const queue = names.deadLetters(source.topic, source.group);
    const count = await this.#depth(queue);
    const channel = await openChannel(consume, runtime, `cannot read "${queue}"`);
    return new DeadLetterReceiver({
      channel,
      runtime,
      lease: this.#lease,
      options,
      source,
      queue,
      count,
      depth: () => this.#depth(queue),
    });
  }

  async #queuesOf(source: Source, signal: AbortSignal): Promise<readonly string[]> {
    if (source.topic === undefined || "broadcast" in source) return [];
    if (source.deadLetter) return [this.#parts.names.deadLetters(source.topic, source.group)];
    const queues = await this.#groups.queues(source.topic, source.group, signal);
    if (queues.length > 0) return queues;
    throw new DriverError(
      "NOT_FOUND",
      `rabbitmq: group "${source.group}" of topic "${source.topic}" has no queue; subscribe it first`,
    );
  }

  async #depth(queue: string, signal?: AbortSignal): Promise<number> {
    const doing = `cannot look at queue "${queue}"`;
    try {
      const { messageCount } = await this.#groups.ask(doing, (channel) => channel.checkQueue(queue), signal);
      return messageCount;
    } catch (error) {
      if (replyCode(error) === 404) {
        throw new DriverError(
          "NOT_FOUND",
          `rabbitmq: queue "${queue}" does not exist; create it, or connect with provision: 'create'`,
          { cause: error },
        );
      }
      throw translate(error, doing);
    }
  }

  get #lease(): Lease {
    const { consumerTimeoutMs } = this.#parts.settings;
    // Nothing renews it: the broker counts from the delivery.
    const holdMs = Math.max(consumerTimeoutMs / 2, consumerTimeoutMs - leaseMarginMs);
    return { ms: consumerTimeoutMs, renew: false, holdMs };
  }

  /** A broadcast instance that opens again missed what was sent meanwhile: its old queue died with its channel. */
  #opened(source: BroadcastSource): number {
    const { broadcasts, context } = this.#parts;
    const label = `${source.topic}\0${source.broadcast}\0${source.instance}`;
    const count = (broadcasts.get(label) ?? 0) + 1;
    broadcasts.set(label, count);
    if (count > 1) {
      const detail = `rabbitmq: broadcast "${source.broadcast}" of topic "${source.topic}" was away; what was sent meanwhile did not reach it`;
      context.report({ kind: "gap", source, detail });
    }
    return count;
  }

  #own<T extends Sender | Receiver>(child: T): T {
    this.#children.add(child);
    void child.closed.then(() => this.#children.delete(child));
    return child;
  }

  #reportBlocked(): void {
    const { publish, context } = this.#parts;
    let before: string | undefined;
    publish.watch(() => {
      const { blocked } = publish;
      if (blocked === before || !publish.alive) return;
      before = blocked;
      if (blocked === undefined)
        context.report({ kind: "unblocked", detail: "rabbitmq: the broker takes messages again" });
      else context.report({ kind: "blocked", detail: `rabbitmq: the broker takes no messages: ${blocked}` });
    });
  }
}
