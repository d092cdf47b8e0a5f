import {
  GetTopicAttributesCommand,
  ListSubscriptionsByTopicCommand,
  ListTopicsCommand,
  PublishBatchCommand,
  type SNSClient,
} from "@aws-sdk/client-sns";
import {
  ChangeMessageVisibilityBatchCommand,
  DeleteMessageBatchCommand,
  GetQueueUrlCommand,
  type Message,
  ReceiveMessageCommand,
  SendMessageBatchCommand,
  SendMessageCommand,
  type SQSClient,
} from "@aws-sdk/client-sqs";
import type { Runtime } from "@sluice/core/driver";
import type { Clients } from "../../src/clients.ts";

interface Failure {
  readonly Id: string;
  readonly Code: string;
  readonly SenderFault: boolean;
}

interface Waiting {
  readonly input: ReceiveMessageCommand["input"];
  answer(messages: readonly Message[]): void;
  fail(error: Error): void;
}

type Entries = readonly { readonly Id?: string | undefined; readonly ReceiptHandle?: string | undefined }[];

/** SQS as a client sees it: polls that wait for what a test gives them, and batches whose entries may fail. */
export class FakeService {
  readonly runtime: Runtime;
  /** Open polls, the oldest first. */
  readonly polls: Waiting[] = [];
  /** Inputs of everything else, by the command's name. */
  readonly calls: { readonly name: string; readonly input: Record<string, unknown> }[] = [];
  /** Takes the entries of the next batches that fail. */
  failures: ((name: string, entries: Entries) => Failure[]) | undefined;
  mostPolls = 0;
  /** Names of topics, and of queues, that exist; and of topics that nobody reads. */
  readonly topics: Set<string> = new Set(["orders"]);
  readonly queues: Set<string> = new Set();
  readonly unread: Set<string> = new Set();
  /** What the next sends end with instead of an answer. */
  refusal: Error | undefined;

  constructor(runtime: Runtime) {
    this.runtime = runtime;
  }

  /** n.b. Only `send` is ever called on them here. */
  get clients(): Clients {
    const sqs = { send: (command: unknown, options: unknown) => this.#send(command, options) } as unknown as SQSClient;
    const sns = { send: (command: unknown, options: unknown) => this.#send(command, options) } as unknown as SNSClient;
    const both = { sqs, sns };
    return { polls: sqs, sends: both, calls: both, destroy() {} };
  }

  /** Inputs of the calls with this command, in order. */
  of(command: { readonly name: string }): Record<string, unknown>[] {
    return this.calls.filter(({ name }) => name === command.name).map(({ input }) => input);
  }

  #send(command: unknown, options: unknown): Promise<unknown> {
    const { abortSignal } = options as { readonly abortSignal: AbortSignal };
    if (command instanceof ReceiveMessageCommand) return this.#poll(command.input, abortSignal);
    const { name } = (command as object).constructor;
    const { input } = command as { readonly input: Record<string, unknown> };
    this.calls.push({ name, input });
    if (command instanceof SendMessageBatchCommand) return this.#store(name, input["Entries"] as Entries);
    if (command instanceof PublishBatchCommand)
      return this.#store(name, input["PublishBatchRequestEntries"] as Entries);
    if (command instanceof SendMessageCommand) return this.refusal ? Promise.reject(this.refusal) : Promise.resolve({});
    if (command instanceof DeleteMessageBatchCommand || command instanceof ChangeMessageVisibilityBatchCommand) {
      return Promise.resolve({ Failed: this.failures?.(name, input["Entries"] as Entries) ?? [] });
    }
    return this.#look(command);
  }

  #look(command: unknown): Promise<unknown> {
    const base = "arn:aws:sns:eu-central-1:123456789012:";
    if (command instanceof ListTopicsCommand) {
      return Promise.resolve({ Topics: [...this.topics].map((name) => ({ TopicArn: base + name })) });
    }
    if (command instanceof GetTopicAttributesCommand || command instanceof ListSubscriptionsByTopicCommand) {
      const name = command.input.TopicArn?.slice(base.length) ?? "";
      if (!this.topics.has(name)) return Promise.reject(named("NotFoundException"));
      const read = !this.unread.has(name);
      return Promise.resolve({ Attributes: { SubscriptionsConfirmed: read ? "1" : "0" }, Subscriptions: [] });
    }
    if (command instanceof GetQueueUrlCommand) {
      const name = command.input.QueueName ?? "";
      return this.queues.has(name)
        ? Promise.resolve({ QueueUrl: `http://sqs/${name}` })
        : Promise.reject(named("QueueDoesNotExist"));
    }
    return Promise.reject(new Error(`${(command as object).constructor.name} is not faked`));
  }

  #store(name: string, entries: Entries): Promise<unknown> {
    if (this.refusal) return Promise.reject(this.refusal);
    const failed = this.failures?.(name, entries) ?? [];
    const bad = new Set(failed.map(({ Id }) => Id));
    const stored = entries.filter(({ Id = "" }) => !bad.has(Id));
    return Promise.resolve({ Successful: stored.map(({ Id }) => ({ Id, MessageId: `m-${Id}` })), Failed: failed });
  }

  #poll(input: Waiting["input"], signal: AbortSignal): Promise<{ readonly Messages?: readonly Message[] }> {
    return new Promise((resolve, reject) => {
      const end = () => {
        cancel();
        this.polls.splice(this.polls.indexOf(waiting), 1);
      };
      const waiting: Waiting = {
        input,
        answer: (Messages) => {
          end();
          resolve({ Messages });
        },
        fail: (error) => {
          end();
          reject(error);
        },
      };
      const cancel = this.runtime.timer((input.WaitTimeSeconds ?? 0) * 1_000, () => waiting.answer([]));
      signal.addEventListener("abort", () => waiting.fail(Object.assign(new Error("cut"), { name: "AbortError" })));
      this.polls.push(waiting);
      this.mostPolls = Math.max(this.mostPolls, this.polls.length);
    });
  }
}

function named(name: string): Error {
  return Object.assign(new Error(name), { name, $fault: "client", $metadata: { httpStatusCode: 400 } });
}

let handles = 0;

/** A message as a queue hands it out. */
export function message(body: string, more: { readonly group?: string; readonly count?: number } = {}): Message {
  return {
    MessageId: `id-${body}`,
    ReceiptHandle: `handle-${body}-${++handles}`,
    Body: body,
    Attributes: {
      ApproximateReceiveCount: String(more.count ?? 1),
      ...(more.group !== undefined && { MessageGroupId: more.group }),
    },
  };
}
