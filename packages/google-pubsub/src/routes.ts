import { DriverError, type Destination, type Runtime } from "@sluice/core/driver";
import type { Calls } from "./channels.ts";
import { statusOf, status } from "./errors.ts";
import { methods } from "./methods.ts";
import { type Names, shortName, topicPath } from "./names.ts";

/** So long a topic that had a subscription is taken to have one: asking costs a request of the administrative quota. */
const freshMs = 60_000;

/** Where items go, and whether anybody keeps what is sent there: a topic without a subscription takes messages and forgets them. */
export class Routes {
  readonly #channels: Calls;
  readonly #runtime: Runtime;
  readonly #names: Names;
  readonly #project: string;
  /** Topics with a subscription, and until when that is taken for granted. */
  readonly #known = new Map<string, number>();
  readonly #asking = new Map<string, Promise<DriverError | undefined>>();

  constructor(channels: Calls, runtime: Runtime, names: Names, project: string) {
    this.#channels = channels;
    this.#runtime = runtime;
    this.#names = names;
    this.#project = project;
  }

  topicOf(to: Destination): string {
    const { topic, group, deadLetter } = to;
    if (group === undefined) return topicPath(this.#project, this.#names.topic(topic));
    const name = deadLetter ? this.#names.deadLetters(topic, group) : this.#names.entry(topic, group);
    return topicPath(this.#project, name);
  }

  get waiting(): string {
    return topicPath(this.#project, this.#names.waiting());
  }

  /** Something was deleted: look again. */
  forget(topic?: string): void {
    if (topic === undefined) this.#known.clear();
    else this.#known.delete(topic);
  }

  /** Whether it was looked at a moment ago; spares a turn of the event loop for every call. */
  isKnown(topic: string): boolean {
    return (this.#known.get(topic) ?? -1) > this.#runtime.monotonicMs();
  }

  /** Why nobody would keep a message of this topic; `undefined`: somebody does. Callers share one question, and each stops waiting at its own signal. */
  async check(topic: string, signal: AbortSignal): Promise<DriverError | undefined> {
    if (this.isKnown(topic)) return undefined;
    const aborting = Promise.withResolvers<DriverError>();
    const text = `google-pubsub: cannot look at topic "${shortName(topic)}": the caller's signal aborted`;
    const abort = () => aborting.resolve(new DriverError("ABORTED", text, { cause: signal.reason }));
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort, { once: true });
    const answer = await Promise.race([aborting.promise, this.#answer(topic)]);
    signal.removeEventListener("abort", abort);
    return answer;
  }

  #answer(topic: string): Promise<DriverError | undefined> {
    const asking = this.#asking.get(topic) ?? this.#ask(topic).finally(() => this.#asking.delete(topic));
    this.#asking.set(topic, asking);
    return asking;
  }

  async #ask(topic: string): Promise<DriverError | undefined> {
    const name = shortName(topic);
    try {
      const doing = `cannot look at topic "${name}"`;
      const { subscriptions } = await this.#channels.call(
        methods.listTopicSubscriptions,
        { topic, pageSize: 1 },
        { doing },
      );
      if (subscriptions.length === 0) {
        // n.b. an emulator lists nothing also for a topic that does not exist.
        await this.#channels.call(methods.getTopic, { topic }, { doing });
        const text = `google-pubsub: topic "${name}" has no subscription, so nobody would keep the message; subscribe a group first, or name it in the topic's groups`;
        return new DriverError("UNROUTABLE", text);
      }
    } catch (error) {
      // Who may only publish is trusted to know that somebody listens.
      if (statusOf(error) !== status.permissionDenied) return asDriverError(error, name);
    }
    this.#known.set(topic, this.#runtime.monotonicMs() + freshMs);
    return undefined;
  }
}

function asDriverError(error: unknown, name: string): DriverError {
  if (statusOf(error) !== status.notFound && error instanceof DriverError) return error;
  const text = `google-pubsub: topic "${name}" does not exist; create it, or connect with provision: 'create'`;
  return new DriverError("NOT_FOUND", text, { cause: error });
}
