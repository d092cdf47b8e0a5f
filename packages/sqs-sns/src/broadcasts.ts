import { ListSubscriptionsByTopicCommand, UnsubscribeCommand } from "@aws-sdk/client-sns";
import {
  CreateQueueCommand,
  DeleteQueueCommand,
  ListQueuesCommand,
  ListQueueTagsCommand,
  TagQueueCommand,
} from "@aws-sdk/client-sqs";
import { type BroadcastSource, DriverError, type DriverEvent, type Runtime } from "@sluice/core/driver";
import { call, each } from "./call.ts";
import { queueBytes } from "./capabilities.ts";
import type { Clients } from "./clients.ts";
import type { Directory, FoundQueue } from "./directory.ts";
import type { Names } from "./names.ts";
import { allowTopic, filterPolicy } from "./policy.ts";
import { unlessMissing } from "./findings.ts";
import { subscribe } from "./provision-subscription.ts";

export interface BroadcastsParts {
  readonly clients: Clients;
  readonly directory: Directory;
  readonly names: Names;
  readonly runtime: Runtime;
  readonly visibilitySeconds: number;
  report(event: DriverEvent): void;
}

/** A queue of an instance, while somebody reads it or may read it again soon. */
interface Instance {
  readonly source: BroadcastSource;
  readonly queue: FoundQueue;
  readonly topicArn: string;
  cancel: () => void;
}

/** What a peer finds on a queue whose instance died. */
const expiresTag = "sluice:expires";
const topicTag = "sluice:topic";

/** How long a queue is kept for that says nothing more, and how often its instance says something. */
const expiryMs = 20 * 60_000;
const sayMs = 5 * 60_000;
/** A receiver that is opened again finds what came meanwhile. */
const graceMs = 30_000;
/** n.b. Bounds what an abandoned queue holds. */
const retentionSeconds = 3_600;

/**
 * A queue and a subscription for every instance of a broadcast. They go with their connection; those of an instance that died
 * carry a tag with the time after which any peer removes them.
 */
export class Broadcasts {
  readonly #parts: BroadcastsParts;
  readonly #instances = new Map<string, Instance>();
  readonly #known = new Set<string>();
  readonly #closing = new AbortController();
  #sweptMs = -Infinity;
  #sweeping: Promise<unknown> = Promise.resolve();

  constructor(parts: BroadcastsParts) {
    this.#parts = parts;
  }

  async open(source: BroadcastSource): Promise<FoundQueue> {
    const { directory, names } = this.#parts;
    const { arn, fifo } = await directory.topic(source.topic);
    const name = names.broadcast(source.topic, source.broadcast, source.instance, fifo);
    const there = this.#instances.get(name);
    there?.cancel();
    const queue = there ? await unlessMissing(directory.queue(name)) : undefined;
    const made = queue ?? (await this.#make(name, source, arn, fifo));
    this.#instances.set(name, { source, queue: made, topicArn: arn, cancel: this.#keepSaying(made) });
    this.#known.add(name);
    this.#sweepSoon();
    return made;
  }

  /** Who joins looks after those that died: as often as instances come, and no more. */
  #sweepSoon(): void {
    const nowMs = this.#parts.runtime.monotonicMs();
    if (nowMs < this.#sweptMs + sayMs) return;
    this.#sweptMs = nowMs;
    // The next one tries again; one without the right to look leaves it to others.
    this.#sweeping = this.sweep(this.#closing.signal).catch(() => 0);
  }

  async #make(name: string, source: BroadcastSource, topicArn: string, fifo: boolean): Promise<FoundQueue> {
    const { clients, directory, runtime, visibilitySeconds } = this.#parts;
    const queueArn = await directory.queueArn(name);
    const command = new CreateQueueCommand({
      QueueName: name,
      Attributes: {
        MessageRetentionPeriod: String(retentionSeconds),
        MaximumMessageSize: String(queueBytes),
        VisibilityTimeout: String(visibilitySeconds),
        Policy: allowTopic(undefined, queueArn, topicArn) ?? "",
        ...(fifo && { FifoQueue: "true" }),
      },
      tags: {
        [expiresTag]: String(runtime.wallMs() + expiryMs),
        [topicTag]: topicArn,
        "sluice:broadcast": source.broadcast,
        "sluice:instance": source.instance,
      },
    });
    const { QueueUrl = "" } = await call({ runtime, doing: `cannot create queue "${name}"` }, (options) =>
      clients.calls.sqs.send(command, options),
    );
    directory.learnQueue(name, QueueUrl);
    const attributes = {
      RawMessageDelivery: "true",
      ...(source.filter && { FilterPolicy: filterPolicy(source.filter), FilterPolicyScope: "MessageAttributes" }),
    };
    await subscribe(topicArn, queueArn, attributes, { clients, runtime, signal: new AbortController().signal });
    directory.learnReader(topicArn);
    if (this.#known.has(name)) {
      const detail = `sqs-sns: the queue of broadcast "${source.broadcast}" was gone; what was sent meanwhile did not reach it`;
      this.#parts.report({ kind: "gap", source, detail });
    }
    return { name, url: QueueUrl, fifo };
  }

  /** Nobody reads it any more, for now. */
  release(queue: FoundQueue): void {
    const instance = this.#instances.get(queue.name);
    if (!instance) return;
    instance.cancel();
    const remove = () => void this.#remove(instance).catch(() => undefined); // a peer sweeps it
    instance.cancel = this.#parts.runtime.timer(graceMs, remove, { background: true });
  }

  async close(signal: AbortSignal): Promise<void> {
    this.#closing.abort();
    await this.#sweeping;
    await Promise.all([...this.#instances.values()].map((each) => this.#remove(each, signal).catch(() => undefined)));
  }

  async #remove(instance: Instance, signal?: AbortSignal): Promise<void> {
    const { queue, topicArn } = instance;
    instance.cancel();
    this.#instances.delete(queue.name);
    this.#parts.directory.forgetQueue(queue.name);
    await this.#removeQueue(queue.url, queue.name, topicArn, signal);
  }

  /** n.b. The subscription first: one without its queue fails for every message, and is seen nowhere. */
  async #removeQueue(url: string, name: string, topicArn: string, signal: AbortSignal | undefined): Promise<void> {
    const { clients, directory, runtime } = this.#parts;
    const arn = await this.#subscription(topicArn, await directory.queueArn(name), signal);
    if (arn !== undefined) {
      await call({ runtime, doing: `cannot unsubscribe "${name}"`, signal }, (options) =>
        clients.calls.sns.send(new UnsubscribeCommand({ SubscriptionArn: arn }), options),
      );
      directory.forget({ name, address: topicArn });
    }
    const deleting = call({ runtime, doing: `cannot delete queue "${name}"`, signal }, (options) =>
      clients.calls.sqs.send(new DeleteQueueCommand({ QueueUrl: url }), options),
    );
    await unlessMissing(deleting);
  }

  async #subscription(
    topicArn: string,
    queueArn: string,
    signal: AbortSignal | undefined,
  ): Promise<string | undefined> {
    const { clients, runtime } = this.#parts;
    const doing = `cannot list the subscriptions of "${topicArn}"`;
    let next: string | undefined;
    do {
      const NextToken = next;
      const command = new ListSubscriptionsByTopicCommand({ TopicArn: topicArn, ...(NextToken && { NextToken }) });
      const page = await unlessMissing(
        call({ runtime, doing, signal }, (options) => clients.calls.sns.send(command, options)),
      );
      const found = page?.Subscriptions?.find(({ Endpoint }) => Endpoint === queueArn);
      if (found) return found.SubscriptionArn;
      next = page?.NextToken;
    } while (next);
    return undefined;
  }

  /** Removes the queues of instances that said nothing for too long. Resolves to how many. */
  async sweep(signal: AbortSignal): Promise<number> {
    const { clients, names, runtime } = this.#parts;
    let removed = 0;
    const { QueueUrls = [] } = await call({ runtime, doing: "cannot list queues", signal }, (options) =>
      clients.calls.sqs.send(new ListQueuesCommand({ QueueNamePrefix: names.broadcasts }), options),
    );
    await each(QueueUrls, 4, async (url) => {
      if (signal.aborted || !(await this.#sweepOne(url, signal))) return;
      removed++;
    });
    return removed;
  }

  async #sweepOne(url: string, signal: AbortSignal): Promise<boolean> {
    const { clients, runtime } = this.#parts;
    const name = url.slice(url.lastIndexOf("/") + 1);
    try {
      const { Tags = {} } = await call(
        { runtime, doing: `cannot read the tags of queue "${name}"`, signal },
        (options) => clients.calls.sqs.send(new ListQueueTagsCommand({ QueueUrl: url }), options),
      );
      const expires = Number(Tags[expiresTag] ?? Number.NaN);
      const topicArn = Tags[topicTag];
      if (topicArn === undefined || !(expires < runtime.wallMs())) return false;
      await this.#removeQueue(url, name, topicArn, signal);
      return true;
    } catch (error) {
      // Another peer was faster.
      if (error instanceof DriverError && error.code === "NOT_FOUND") return false;
      throw error;
    }
  }

  /** Says from time to time that the instance lives. A failure has three more tries before anybody believes it. */
  #keepSaying({ url, name }: FoundQueue): () => void {
    const { clients, runtime } = this.#parts;
    let cancel = () => {};
    const schedule = () => (cancel = runtime.timer(sayMs, say, { background: true }));
    const say = () => {
      schedule();
      const tags = { [expiresTag]: String(runtime.wallMs() + expiryMs) };
      call({ runtime, doing: `cannot tag queue "${name}"` }, (options) =>
        clients.calls.sqs.send(new TagQueueCommand({ QueueUrl: url, Tags: tags }), options),
      ).catch(() => undefined);
    };
    schedule();
    return () => cancel();
  }
}
