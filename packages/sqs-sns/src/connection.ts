import { GetQueueAttributesCommand, ListQueuesCommand } from "@aws-sdk/client-sqs";
import {
  type Backlog,
  type Capabilities,
  type ConnectContext,
  type Connection,
  type DeadLetterSource,
  type Delivery,
  type DriverError,
  type Finding,
  type Limits,
  type ProvisionMode,
  type Receiver,
  type ReceiverOptions,
  type Resource,
  type Sender,
  type Source,
} from "@sluice/core/driver";
import { Broadcasts } from "./broadcasts.ts";
import { call, each, settled } from "./call.ts";
import { limits } from "./capabilities.ts";
import type { Clients } from "./clients.ts";
import { browse, DeadLetterReceiver } from "./dead-letters.ts";
import { Directory, type FoundQueue } from "./directory.ts";
import { MoveBack } from "./move-back.ts";
import type { Names } from "./names.ts";
import type { Settings, SqsSnsClient } from "./options.ts";
import { Polls } from "./polls.ts";
import { provision } from "./provision.ts";
import { SqsReceiver } from "./receiver.ts";
import { SqsSnsSender } from "./sender.ts";

export interface ConnectionParts {
  readonly context: ConnectContext;
  readonly settings: Settings;
  readonly names: Names;
  readonly clients: Clients;
  readonly directory: Directory;
  readonly capabilities: Capabilities;
  readonly server: string;
}

/** How many queues are looked up at once when a receiver opens. */
const width = 8;

/** Clients, and what was learnt with them. There is no connection on the wire: it ends when it is closed, and never before. */
export class SqsSnsConnection implements Connection {
  readonly capabilities: Capabilities;
  readonly limits: Limits;
  readonly server: string;
  readonly native: SqsSnsClient;
  readonly closed: Promise<DriverError | undefined>;
  readonly #parts: ConnectionParts;
  readonly #settled = settled<DriverError | undefined>();
  readonly #polls: Polls;
  readonly #broadcasts: Broadcasts;
  readonly #moveBack: MoveBack;
  /** Of the receivers themselves. */
  readonly #copies: SqsSnsSender;
  /** What was there once: when it has to be made again, somebody deleted it. */
  readonly #made = new Set<string>();
  readonly #children = new Set<Sender | Receiver>();
  #closing: Promise<void> | undefined;

  constructor(parts: ConnectionParts) {
    const { clients, settings, context, names, directory } = parts;
    this.#parts = parts;
    this.capabilities = parts.capabilities;
    this.limits = limits(settings);
    this.server = parts.server;
    this.native = clients.calls;
    this.closed = this.#settled.promise;
    this.#polls = new Polls({
      client: clients.polls,
      runtime: context.runtime,
      slots: settings.pollers,
      waitSeconds: settings.waitSeconds,
      idleRequestsPerSecond: settings.idleRequestsPerSecond,
      visibilitySeconds: settings.visibilitySeconds,
    });
    this.#copies = this.#newSender();
    this.#moveBack = new MoveBack({ clients, directory, names, runtime: context.runtime });
    this.#broadcasts = new Broadcasts({
      clients,
      directory,
      names,
      runtime: context.runtime,
      visibilitySeconds: settings.visibilitySeconds,
      report: (event) => context.report(event),
    });
  }

  async provision(
    resources: readonly Resource[],
    mode: ProvisionMode,
    signal: AbortSignal,
  ): Promise<readonly Finding[]> {
    const { clients, directory, names, context, settings } = this.#parts;
    const { maxMessageBytes } = settings;
    const work = { clients, directory, names, runtime: context.runtime, mode, signal, maxMessageBytes };
    const findings = await provision(resources, work);
    const again = findings.filter(({ state, resource }) => state === "created" && this.#made.has(labelOf(resource)));
    if (again.length > 0) {
      const list = again.map(({ resource }) => resource.name).join(", ");
      const detail = `sqs-sns: ${list} had been deleted and was made again; what it held is lost`;
      context.report({ kind: "recreated", count: again.length, detail });
    }
    if (mode === "create") for (const resource of resources) this.#made.add(labelOf(resource));
    return findings;
  }

  sweep(signal: AbortSignal): Promise<number> {
    return this.#broadcasts.sweep(signal);
  }

  async sender(): Promise<Sender> {
    return this.#own(this.#newSender());
  }

  #newSender(): SqsSnsSender {
    const { clients, directory, names, context, settings } = this.#parts;
    const { maxMessageBytes } = settings;
    const staleUntilMs = (queue: { readonly url: string }) => this.#polls.staleUntilMs(queue);
    const sent = (address: string) => this.#polls.wake(address);
    return new SqsSnsSender({
      clients,
      directory,
      names,
      runtime: context.runtime,
      maxMessageBytes,
      staleUntilMs,
      sent,
    });
  }

  async receiver(sources: readonly Source[], options: ReceiverOptions): Promise<Receiver> {
    const { clients, context, settings } = this.#parts;
    const { runtime } = context;
    const { visibilitySeconds } = settings;
    const [first, ...others] = sources;
    if (first && "deadLetter" in first && first.deadLetter && others.length === 0) {
      return this.#own(new DeadLetterReceiver(await this.#deadLetters(first), options));
    }
    const queues = new Map<Source, FoundQueue>();
    await each(sources, width, async (source) => void queues.set(source, await this.#open(source, options.ordered)));
    const never = new AbortController().signal;
    const receiver = new SqsReceiver({
      clients,
      runtime,
      polls: this.#polls,
      visibilitySeconds,
      options,
      send: (items) => this.#copies.send(items, never),
      report: (event) => context.report(event),
    });
    for (const [source, queue] of queues) receiver.read(queue, source);
    void receiver.closed.then((error) => {
      for (const [source, queue] of queues) {
        if ("broadcast" in source) this.#broadcasts.release(queue);
        if (error) this.#parts.directory.forgetQueue(queue.name);
      }
    });
    return this.#own(receiver);
  }

  async #open(source: Source, ordered: boolean): Promise<FoundQueue> {
    const { directory, names } = this.#parts;
    if (source.topic === undefined) return this.#present(await directory.queue(names.waiting()));
    if ("broadcast" in source) return this.#broadcasts.open(source);
    const { topic, group } = source;
    return this.#present(await directory.queue(names.queue(topic, group, ordered)));
  }

  /** n.b. A name that was looked up long ago may lead nowhere now; and a receiver that is opened has to be live. */
  async #present(queue: FoundQueue): Promise<FoundQueue> {
    const { directory } = this.#parts;
    if (!directory.wasThere(queue.name)) await this.#attributes(queue);
    directory.sawQueue(queue.name);
    return queue;
  }

  async backlog(source: Source, signal: AbortSignal): Promise<Backlog> {
    const { directory, names } = this.#parts;
    if (source.topic !== undefined && "broadcast" in source) return {};
    const queue =
      source.topic === undefined
        ? await directory.queue(names.waiting())
        : await directory.groupQueue(source.topic, source.group, source.deadLetter === true);
    const attributes = await this.#attributes(queue, signal);
    const count = (name: string) => Number(attributes[name] ?? 0);
    return {
      ready: count("ApproximateNumberOfMessages"),
      inFlight: count("ApproximateNumberOfMessagesNotVisible"),
      delayed: count("ApproximateNumberOfMessagesDelayed"),
    };
  }

  async #attributes({ name, url }: FoundQueue, signal?: AbortSignal): Promise<Partial<Record<string, string>>> {
    const { clients, directory, context } = this.#parts;
    const command = new GetQueueAttributesCommand({
      QueueUrl: url,
      AttributeNames: [
        "ApproximateNumberOfMessages",
        "ApproximateNumberOfMessagesNotVisible",
        "ApproximateNumberOfMessagesDelayed",
      ],
    });
    try {
      const bound = { runtime: context.runtime, doing: `cannot look at queue "${name}"`, signal };
      const { Attributes = {} } = await call(bound, (options) => clients.calls.sqs.send(command, options));
      return Attributes;
    } catch (error) {
      directory.forgetQueue(name);
      throw error;
    }
  }

  moveBack(source: DeadLetterSource, signal: AbortSignal): Promise<number | undefined> {
    return this.#moveBack.run(source, signal);
  }

  async browse(
    source: DeadLetterSource,
    after: string | undefined,
    max: number,
    signal: AbortSignal,
  ): Promise<{ readonly deliveries: readonly Delivery[]; readonly next: string | undefined }> {
    return browse(await this.#deadLetters(source), after, max, signal);
  }

  async #deadLetters(source: DeadLetterSource) {
    const { clients, context, directory, settings } = this.#parts;
    const queue = await directory.groupQueue(source.topic, source.group, true);
    return { clients, runtime: context.runtime, source, queue, visibilitySeconds: settings.visibilitySeconds };
  }

  async ping(signal: AbortSignal): Promise<void> {
    await ping(this.#parts.clients, this.#parts.context, signal);
  }

  close(signal: AbortSignal): Promise<void> {
    this.#closing ??= this.#close(signal);
    return this.#closing;
  }

  async #close(signal: AbortSignal): Promise<void> {
    await Promise.all([...this.#children].map((child) => child.close(signal)));
    await this.#moveBack.close(signal);
    await this.#copies.close(signal);
    await this.#broadcasts.close(signal);
    this.#parts.clients.destroy();
    this.#settled.resolve(undefined);
  }

  #own<T extends Sender | Receiver>(child: T): T {
    this.#children.add(child);
    void child.closed.then(() => this.#children.delete(child));
    return child;
  }
}

function labelOf({ kind, name }: Resource): string {
  return `${kind} ${name}`;
}

/** A round trip to SQS. Somebody who may not list queues is known there all the same. */
export async function ping(
  clients: Clients,
  { runtime }: Pick<ConnectContext, "runtime">,
  signal: AbortSignal,
  ms = 9_000,
): Promise<void> {
  try {
    await call({ runtime, doing: "cannot reach SQS", signal, ms }, (options) =>
      clients.calls.sqs.send(new ListQueuesCommand({ MaxResults: 1 }), options),
    );
  } catch (error) {
    if ((error as DriverError).code !== "FORBIDDEN") throw error; // `call` throws nothing else
  }
}
