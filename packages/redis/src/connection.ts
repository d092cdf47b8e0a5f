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
import { backlogOf } from "./backlog.ts";
import { limits, refine } from "./capabilities.ts";
import type { Link } from "./client.ts";
import { entryIdOf, readLetters } from "./dead-letters.ts";
import { Delays } from "./delays.ts";
import type { Names } from "./names.ts";
import type { RedisClient, Settings } from "./options.ts";
import { missing, provision } from "./provision.ts";
import { leaveGroup } from "./scripts/read.ts";
import { seekGroup } from "./scripts/keep.ts";
import { RedisSender } from "./sender.ts";
import type { Server } from "./server.ts";
import { anywhere, bySlot, type Together } from "./slots.ts";
import { idleConsumerMs, type Memory, openReceiver, type SourcesParts } from "./sources.ts";
import { Stores } from "./stores.ts";
import { Topics } from "./topics.ts";
import { Trimmer } from "./trimmer.ts";
import { settled, unlessAborted } from "./waiting.ts";

export interface ConnectionParts {
  readonly context: ConnectContext;
  readonly settings: Settings;
  readonly names: Names;
  /** Everything short. */
  readonly commands: Link;
  /** Publishing: large bodies must not delay leases and settlements. */
  readonly sends: Link;
  readonly server: Server;
  readonly memory: Memory;
  readonly clustered: boolean;
}

/** Two sockets that live and die together, and one more per receiver. */
export class RedisConnection implements Connection {
  readonly capabilities: Capabilities;
  readonly limits: Limits;
  readonly server: string;
  readonly native: RedisClient;
  readonly closed: Promise<DriverError | undefined>;
  readonly #settled = settled<DriverError | undefined>();
  readonly #parts: ConnectionParts;
  readonly #together: Together;
  readonly #topics: Topics;
  readonly #stores: Stores;
  readonly #delays: Delays;
  readonly #trimmer: Trimmer;
  readonly #children = new Set<Sender | Receiver>();
  /** What we may make again when somebody deletes it under a living connection. */
  readonly #ours = new Map<string, Resource>();
  readonly #restoring = new Map<string, Promise<boolean>>();
  #closing: Promise<void> | undefined;

  constructor(parts: ConnectionParts) {
    const { commands, sends, settings, context, names, server, clustered } = parts;
    this.#parts = parts;
    this.capabilities = refine(server.appendOnly === true);
    this.limits = limits(settings);
    this.server = server.name;
    this.native = commands.native;
    this.closed = this.#settled.promise;
    this.#together = clustered ? bySlot : anywhere;
    this.#topics = new Topics(commands, names, context.runtime);
    this.#stores = new Stores({ names, settings, runtime: context.runtime });
    this.#delays = new Delays({ link: commands, runtime: context.runtime, names, together: this.#together });
    const report = (event: Parameters<ConnectContext["report"]>[0]) => context.report(event);
    this.#trimmer = new Trimmer({
      link: commands,
      runtime: context.runtime,
      settings,
      together: this.#together,
      report,
    });
    for (const [link, other] of [
      [commands, sends],
      [sends, commands],
    ] as const) {
      void link.closed.then((reason) => {
        if (reason) other.fail(reason);
        this.#settled.resolve(this.#closing ? undefined : reason);
      });
    }
  }

  async provision(
    resources: readonly Resource[],
    mode: ProvisionMode,
    signal: AbortSignal,
  ): Promise<readonly Finding[]> {
    if (mode === "create") for (const each of resources) this.#ours.set(`${each.kind} ${each.name}`, each);
    const { commands: link, names, server, memory } = this.#parts;
    return provision(resources, { link, names, topics: this.#topics, server, mode, signal, before: memory.before });
  }

  /** Trims, and removes consumers that died long ago. n.b. never one that holds entries: they would be lost. */
  async sweep(signal: AbortSignal): Promise<number> {
    let removed = 0;
    for (const { kind, settings } of this.#ours.values()) {
      if (signal.aborted) break;
      const topic = String(settings["topic"]);
      if (kind === "stream") {
        removed += await this.#trimmer.trim(await this.#streams(topic));
      } else if (kind === "group") {
        const group = String(settings["group"]);
        const streams = await this.#streams(topic);
        await this.#parts.commands.run("cannot sweep", leaveGroup, streams, [group, "", idleConsumerMs]);
      }
    }
    return removed;
  }

  async sender(): Promise<Sender> {
    return this.#own(
      new RedisSender({
        link: this.#parts.sends,
        runtime: this.#parts.context.runtime,
        stores: this.#stores,
        topics: this.#topics,
        together: this.#together,
        restore: (topic) => this.#restore(topic),
        delayed: (topic, ms) => this.#delays.delayed(topic, ms),
        stored: (stream) => this.#trimmer.stored(stream),
      }),
    );
  }

  async receiver(sources: readonly Source[], options: ReceiverOptions): Promise<Receiver> {
    try {
      return this.#own(await openReceiver(sources, options, this.#sources));
    } catch (error) {
      if (!(error instanceof DriverError) || error.code !== "NOT_FOUND") throw error;
      const topics = sources.flatMap(({ topic }) => topic ?? []);
      const restored = await Promise.all(topics.map((topic) => this.#restore(topic)));
      if (!restored.includes(true)) throw error;
      return this.#own(await openReceiver(sources, options, this.#sources));
    }
  }

  async backlog(source: Source, signal: AbortSignal): Promise<Backlog> {
    return backlogOf(source, { link: this.#parts.commands, names: this.#parts.names, topics: this.#topics, signal });
  }

  async browse(
    source: DeadLetterSource,
    after: string | undefined,
    max: number,
    signal: AbortSignal,
  ): Promise<{ readonly deliveries: readonly Delivery[]; readonly next: string | undefined }> {
    const { commands: link, names } = this.#parts;
    const stream = names.deadLetters(source.topic, source.group);
    if ((await missing([stream], "", { link, signal })) > 0) throw noLetters(source);
    const found = await readLetters({ link, source, stream }, after, "+", max + 1);
    const deliveries = found.slice(0, max);
    const last = deliveries.at(-1);
    return { deliveries, next: last && found.length > max ? entryIdOf(last) : undefined };
  }

  async seek({ topic, group }: GroupSource, to: Position, signal: AbortSignal): Promise<void> {
    const doing = `cannot move group "${group}" of topic "${topic}"`;
    await this.#parts.commands.run(doing, seekGroup, await this.#streams(topic), [group, idOf(to)], { signal });
  }

  async ping(signal: AbortSignal): Promise<void> {
    await this.#parts.commands.ask("cannot ping", (client) => client.ping(), { signal });
  }

  close(signal: AbortSignal): Promise<void> {
    this.#closing ??= this.#close(signal);
    return this.#closing;
  }

  async #close(signal: AbortSignal): Promise<void> {
    this.#delays.end();
    this.#trimmer.end();
    await unlessAborted(Promise.all([...this.#children].map((child) => child.close(signal))), signal);
    this.#parts.commands.destroy();
    this.#parts.sends.destroy();
    this.#settled.resolve(undefined);
  }

  get #sources(): SourcesParts {
    const { context, settings, names, commands, memory } = this.#parts;
    return {
      context,
      settings,
      names,
      commands,
      memory,
      together: this.#together,
      topics: this.#topics,
      stores: this.#stores,
      delays: this.#delays,
      trimmer: this.#trimmer,
    };
  }

  async #streams(topic: string): Promise<readonly string[]> {
    const shards = await this.#topics.shards(topic);
    return Array.from({ length: shards }, (_, shard) => this.#parts.names.stream(topic, shard));
  }

  /** Makes what was deleted under us again, and says so: what was in it is lost. */
  #restore(topic: string): Promise<boolean> {
    let restoring = this.#restoring.get(topic);
    if (!restoring) {
      restoring = this.#restoreNow(topic).finally(() => this.#restoring.delete(topic));
      this.#restoring.set(topic, restoring);
    }
    return restoring;
  }

  async #restoreNow(topic: string): Promise<boolean> {
    const ours = [...this.#ours.values()].filter(({ settings }) => settings["topic"] === topic);
    if (ours.length === 0) return false;
    const findings = await this.provision(ours, "create", new AbortController().signal);
    const made = findings.filter(({ state }) => state === "created").map(({ resource }) => resource.name);
    if (made.length === 0) return false;
    const detail = `redis: ${made.join(", ")} had been deleted and was made again; what it held is lost`;
    this.#parts.context.report({ kind: "recreated", count: made.length, detail });
    return true;
  }

  #own<T extends Sender | Receiver>(child: T): T {
    this.#children.add(child);
    void child.closed.then(() => this.#children.delete(child));
    return child;
  }
}

/** The last id that the group is taken to have. */
function idOf(to: Position): string {
  if (to === "earliest") return "0";
  if (to === "now") return "$";
  return "native" in to ? to.native : `${Math.max(0, Math.ceil(to.time) - 1)}-18446744073709551615`;
}

function noLetters({ topic, group }: DeadLetterSource): DriverError {
  return new DriverError(
    "NOT_FOUND",
    `redis: group "${group}" of topic "${topic}" has no dead letters; subscribe it first, or declare the group`,
  );
}
