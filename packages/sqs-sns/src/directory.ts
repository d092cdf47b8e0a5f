import { GetTopicAttributesCommand, ListSubscriptionsByTopicCommand, ListTopicsCommand } from "@aws-sdk/client-sns";
import { GetQueueUrlCommand } from "@aws-sdk/client-sqs";
import { DriverError, type DriverErrorCode, type Runtime } from "@sluice/core/driver";
import { call } from "./call.ts";
import type { Clients } from "./clients.ts";
import type { Names } from "./names.ts";

export interface FoundTopic {
  readonly name: string;
  readonly arn: string;
  readonly fifo: boolean;
}

export interface FoundQueue {
  readonly name: string;
  readonly url: string;
  readonly fifo: boolean;
}

/** How long it is believed that somebody reads a topic. */
const readersMs = 30_000;
/** How long it is believed that a queue that was there is still there. */
const presentMs = 60_000;

/** Arns and urls by name, asked once. What turns out to be gone is forgotten and asked again. */
export class Directory {
  readonly #clients: Clients;
  readonly #names: Names;
  readonly #runtime: Runtime;
  /** `arn:aws:sns:eu-central-1:123456789012:`; every topic's arn begins so. */
  #base: string | undefined;
  readonly #queues = new Map<string, string>();
  /** When a queue was last known to be there. */
  readonly #seen = new Map<string, number>();
  readonly #topics = new Map<string, FoundTopic>();
  /** Until when a topic is known to have a subscription, by arn. */
  readonly #read = new Map<string, number>();
  readonly #asking = new Map<string, Promise<unknown>>();

  constructor(clients: Clients, names: Names, runtime: Runtime) {
    this.#clients = clients;
    this.#names = names;
    this.#runtime = runtime;
  }

  learnAccount(arn: string): void {
    this.#base ??= arn.slice(0, arn.lastIndexOf(":") + 1);
  }

  learnTopic(topic: string, name: string, arn: string): void {
    this.learnAccount(arn);
    this.#topics.set(topic, { name, arn, fifo: name.endsWith(".fifo") });
  }

  learnQueue(name: string, url: string): void {
    this.#queues.set(name, url);
    this.sawQueue(name);
  }

  sawQueue(name: string): void {
    this.#seen.set(name, this.#runtime.monotonicMs());
  }

  /** Whether somebody looked at it lately. */
  wasThere(name: string): boolean {
    return (this.#seen.get(name) ?? -Infinity) > this.#runtime.monotonicMs() - presentMs;
  }

  learnReader(arn: string): void {
    this.#read.set(arn, this.#runtime.monotonicMs() + readersMs);
  }

  forgetQueue(name: string): void {
    this.#queues.delete(name);
    this.#seen.delete(name);
  }

  /** A send found nothing there. */
  forget({ name, address }: { readonly name: string; readonly address: string }): void {
    this.forgetQueue(name);
    this.#read.delete(address);
    for (const [topic, { arn }] of this.#topics) if (arn === address) this.#topics.delete(topic);
  }

  /** The arn of a topic of that name in our account, whether it exists or not. */
  async arn(name: string): Promise<string> {
    this.#base ??= await this.#once("account", () => this.#askAccount());
    if (this.#base === undefined) throw noAccount(name);
    return `${this.#base}${name}`;
  }

  /** The same of a queue. */
  async queueArn(name: string): Promise<string> {
    return (await this.arn(name)).replace(":sns:", ":sqs:");
  }

  /** Looks for the account, if it is not known. An account without a topic stays unknown until one is made. */
  async findAccount(signal?: AbortSignal, ms?: number): Promise<void> {
    const base = await this.#askAccount(signal, ms);
    if (base !== undefined) this.#base ??= base;
  }

  /** n.b. There is no other way to learn the account with the rights of a publisher: an arn of a topic, any topic, names it. */
  async #askAccount(signal?: AbortSignal, ms?: number): Promise<string | undefined> {
    const bound = { runtime: this.#runtime, doing: "cannot reach SNS", signal, ...(ms !== undefined && { ms }) };
    const { Topics = [] } = await call(bound, (options) =>
      this.#clients.calls.sns.send(new ListTopicsCommand({}), options),
    );
    const arn = Topics[0]?.TopicArn;
    return arn?.slice(0, arn.lastIndexOf(":") + 1);
  }

  /** An existing topic, ordered or not. @throws DriverError NOT_FOUND */
  async topic(topic: string): Promise<FoundTopic> {
    const known = this.#topics.get(topic);
    if (known) return known;
    return this.#once(`topic ${topic}`, async () => {
      let believed: FoundTopic | undefined;
      for (const fifo of [false, true]) {
        const name = this.#names.topic(topic, fifo);
        const arn = await this.#arnOrNone(name);
        const readers = arn === undefined ? undefined : await this.#askReaders(arn);
        if (arn === undefined || readers === undefined) continue;
        const found = { name, arn, fifo };
        // n.b. Whose rights name topics one by one may not ask for the one that does not exist.
        if (readers === "forbidden") believed ??= found;
        else return this.#learn(topic, found);
      }
      if (believed) return this.#learn(topic, believed);
      throw missing(`topic "${topic}" (SNS topic "${this.#names.topic(topic, false)}")`);
    });
  }

  #learn(topic: string, found: FoundTopic): FoundTopic {
    this.#topics.set(topic, found);
    return found;
  }

  async #arnOrNone(name: string): Promise<string | undefined> {
    try {
      return await this.arn(name);
    } catch (error) {
      if (isCode(error, "NOT_FOUND")) return undefined;
      throw error;
    }
  }

  /** Whether a queue, or anything else, is subscribed: SNS takes messages for nobody without a word. */
  async hasReaders(arn: string): Promise<boolean> {
    const until = this.#read.get(arn) ?? 0;
    if (until > this.#runtime.monotonicMs()) return true;
    const readers = await this.#once(`readers ${arn}`, () => this.#askReaders(arn));
    if (readers === undefined) throw missing(`SNS topic "${arn}"`);
    return readers !== false;
  }

  /** `undefined`: there is no such topic. Without the right to ask we have to believe that there is, and that it is read. */
  async #askReaders(arn: string): Promise<boolean | "forbidden" | undefined> {
    try {
      const read = (await this.#countReaders(arn)) > 0 || (await this.#listsReaders(arn));
      if (read) this.learnReader(arn);
      return read;
    } catch (error) {
      if (isCode(error, "NOT_FOUND")) return undefined;
      if (!isCode(error, "FORBIDDEN")) throw error;
      this.learnReader(arn);
      return "forbidden";
    }
  }

  async #countReaders(arn: string): Promise<number> {
    const { Attributes = {} } = await call(
      { runtime: this.#runtime, doing: `cannot look at topic "${arn}"` },
      (options) => this.#clients.calls.sns.send(new GetTopicAttributesCommand({ TopicArn: arn }), options),
    );
    return Number(Attributes["SubscriptionsConfirmed"] ?? 0);
  }

  /** The count may be behind; so a topic that seems to have no reader is asked for them. */
  async #listsReaders(arn: string): Promise<boolean> {
    const { Subscriptions = [] } = await call(
      { runtime: this.#runtime, doing: `cannot list the subscriptions of "${arn}"` },
      (options) => this.#clients.calls.sns.send(new ListSubscriptionsByTopicCommand({ TopicArn: arn }), options),
    );
    return Subscriptions.some(({ SubscriptionArn }) => SubscriptionArn?.startsWith("arn:") === true);
  }

  /** @throws DriverError NOT_FOUND */
  async queue(name: string): Promise<FoundQueue> {
    const fifo = name.endsWith(".fifo");
    const known = this.#queues.get(name);
    if (known !== undefined) return { name, url: known, fifo };
    return this.#once(`queue ${name}`, async () => {
      const { QueueUrl } = await call({ runtime: this.#runtime, doing: `cannot find queue "${name}"` }, (options) =>
        this.#clients.calls.sqs.send(new GetQueueUrlCommand({ QueueName: name }), options),
      );
      if (QueueUrl === undefined) throw missing(`queue "${name}"`);
      this.learnQueue(name, QueueUrl);
      return { name, url: QueueUrl, fifo };
    });
  }

  /** The queue of a group, or of its dead letters, of an ordered topic or not. @throws DriverError NOT_FOUND */
  async groupQueue(topic: string, group: string, deadLetters: boolean): Promise<FoundQueue> {
    const nameOf = deadLetters ? this.#names.deadLetters : this.#names.queue;
    const known = this.#topics.get(topic);
    if (known) return this.queue(nameOf(topic, group, known.fifo));
    try {
      return await this.queue(nameOf(topic, group, false));
    } catch (error) {
      // n.b. Whose rights name queues one by one may not even ask for those that do not exist.
      if (!isCode(error, "NOT_FOUND") && !isCode(error, "FORBIDDEN")) throw error;
      return this.queue(nameOf(topic, group, true)).catch((other: unknown) => {
        throw isCode(other, "FORBIDDEN") ? error : other;
      });
    }
  }

  /** Callers that ask the same at the same time share the answer. */
  #once<T>(what: string, ask: () => Promise<T>): Promise<T> {
    const under = this.#asking.get(what) as Promise<T> | undefined; // the same words always ask the same thing
    if (under) return under;
    const asking = ask().finally(() => this.#asking.delete(what));
    this.#asking.set(what, asking);
    return asking;
  }
}

function isCode(error: unknown, code: DriverErrorCode): boolean {
  return error instanceof DriverError && error.code === code;
}

function missing(what: string): DriverError {
  return new DriverError(
    "NOT_FOUND",
    `sqs-sns: ${what} does not exist; create it, or connect with provision: 'create'`,
  );
}

function noAccount(name: string): DriverError {
  return new DriverError(
    "NOT_FOUND",
    `sqs-sns: SNS topic "${name}" does not exist: the account has no topics; create it, or connect with provision: 'create'`,
  );
}
