import {
  type Backlog,
  type ConnectContext,
  type Connection,
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
import { backlogOf, browseDeadLetters } from "./reading.ts";
import { type KafkaCapabilities, capabilities, limitsOf } from "./capabilities.ts";
import type { KafkaClient } from "./client.ts";
import { toDriverError } from "./errors.ts";
import type { MemberContext } from "./membering.ts";
import type { KafkaConfig } from "./options.ts";
import { Placer } from "./placing.ts";
import { provision } from "./provision.ts";
import { KafkaReceiver } from "./receiver.ts";
import { seekGroup } from "./seeking.ts";
import { KafkaSender } from "./sender.ts";
import { TopicCatalogue } from "./topics.ts";
import { unlessAborted, within } from "./waiting.ts";

const closeGraceMs = 2_000;
const joinGraceMs = 3_000;

/** Never fails as a whole: the client reconnects by itself, and senders and receivers end one by one. */
export class KafkaConnection implements Connection {
  readonly capabilities: KafkaCapabilities = capabilities;
  readonly limits: Limits;
  readonly server: string;
  readonly native: unknown;
  readonly closed: Promise<DriverError | undefined>;
  readonly #client: KafkaClient;
  readonly #config: KafkaConfig;
  readonly #context: ConnectContext;
  readonly #placer: Placer;
  readonly #open = new Set<Sender | Receiver>();
  readonly #opening = new Set<Promise<unknown>>();
  /** Positions of broadcast instances whose receiver failed. */
  readonly #remembered = new Map<string, Map<string, number>>();
  readonly #vanished = new Set<string>();
  #finish!: (reason: undefined) => void; // set in the constructor, by the promise
  #closing: Promise<void> | undefined;

  constructor(client: KafkaClient, config: KafkaConfig, context: ConnectContext) {
    this.#client = client;
    this.#config = config;
    this.#context = context;
    this.limits = limitsOf(config);
    this.server = client.server;
    this.native = client.native;
    const topics = new TopicCatalogue(client.admin, context.runtime, config.metadataMaxAge);
    this.#placer = new Placer(topics, context.runtime, config.names);
    this.closed = new Promise((resolve) => (this.#finish = resolve));
  }

  async provision(
    resources: readonly Resource[],
    mode: ProvisionMode,
    signal: AbortSignal,
  ): Promise<readonly Finding[]> {
    const { replicationFactor } = this.#config;
    const vanished = this.#vanished;
    const options = { mode, replicationFactor, signal, vanished };
    const work = provision(this.#client.admin, this.#context.runtime, resources, options);
    const findings = await this.#bounded(work, signal, "cannot provision");
    const gone = new Set([...vanished].map((place) => place.split(" ")[1]));
    for (const { resource, state } of findings) {
      if (state !== "created" || !gone.has(resource.name)) continue;
      const detail = `kafka: topic "${resource.name}" had been deleted and was made again; what it held is lost`;
      this.#context.report({ kind: "recreated", count: 1, detail });
    }
    return findings;
  }

  sender(): Promise<Sender> {
    return this.#opened("cannot open a producer", async () => {
      const producer = await this.#client.producer();
      return new KafkaSender(producer, this.#placer, this.#context.runtime);
    });
  }

  receiver(sources: readonly Source[], options: ReceiverOptions): Promise<Receiver> {
    return this.#opened("cannot open a receiver", () => KafkaReceiver.open(sources, options, this.#memberContext()));
  }

  backlog(source: Source, signal: AbortSignal): Promise<Backlog> {
    const remembered = this.#memory(source);
    return this.#bounded(
      backlogOf(this.#client.admin, source, this.#config.names, remembered),
      signal,
      "cannot read the backlog",
    );
  }

  browse(
    source: Source,
    after: string | undefined,
    max: number,
    signal: AbortSignal,
  ): Promise<{ readonly deliveries: readonly Delivery[]; readonly next: string | undefined }> {
    const work = browseDeadLetters(this.#client.admin, source, this.#config.names, after, max);
    return this.#bounded(work, signal, "cannot browse");
  }

  seek(source: GroupSource, to: Position, signal: AbortSignal): Promise<void> {
    return this.#bounded(seekGroup(this.#client.admin, this.#config.names, source, to), signal, "cannot seek");
  }

  ping(signal: AbortSignal): Promise<void> {
    return this.#bounded(this.#client.admin.ping(), signal, "no answer");
  }

  close(signal: AbortSignal): Promise<void> {
    this.#closing ??= this.#close(signal);
    return this.#closing;
  }

  async #close(signal: AbortSignal): Promise<void> {
    await Promise.all([...this.#open].map((one) => one.close(signal)));
    // n.b. a consumer that is cut off in the middle of a join stays a member for a session: most joins are given time to end.
    const opening = within(this.#context.runtime, joinGraceMs, Promise.allSettled(this.#opening));
    await unlessAborted(opening, signal, "close").catch(() => {});
    await this.#client.close(signal.aborted ? 0 : closeGraceMs);
    this.#finish(undefined);
  }

  #opened<T extends Sender | Receiver>(doing: string, open: () => Promise<T>): Promise<T> {
    const opening = this.#openOne(doing, open).finally(() => this.#opening.delete(opening));
    this.#opening.add(opening);
    return opening;
  }

  async #openOne<T extends Sender | Receiver>(doing: string, open: () => Promise<T>): Promise<T> {
    try {
      const one = await open();
      if (this.#closing) {
        await one.close(AbortSignal.abort());
        throw new DriverError("LOST", "kafka: the connection was closed");
      }
      this.#open.add(one);
      void one.closed.then(() => this.#open.delete(one));
      return one;
    } catch (error) {
      throw toDriverError(error, doing);
    }
  }

  #memberContext(): MemberContext {
    const { runtime } = this.#context;
    return {
      client: this.#client,
      config: this.#config,
      placer: this.#placer,
      runtime,
      remembered: (source) => this.#memory(source),
      report: (event) => this.#context.report(event),
      vanished: this.#vanished,
    };
  }

  #memory(source: Source): Map<string, number> {
    if (!("broadcast" in source)) return new Map();
    const key = JSON.stringify([source.broadcast, source.instance]);
    const memory = this.#remembered.get(key) ?? new Map<string, number>();
    this.#remembered.set(key, memory);
    return memory;
  }

  #bounded<T>(work: Promise<T>, signal: AbortSignal, doing: string): Promise<T> {
    return unlessAborted(work, signal, doing).catch((error: unknown) => {
      if (!signal.aborted) throw toDriverError(error, doing);
      throw new DriverError(
        "UNAVAILABLE",
        `kafka: ${doing}: no answer before the deadline; check that the brokers are reachable`,
      );
    });
  }
}
