import { type Destination, DriverError, type Key, type Runtime, type SendItem } from "@sluice/core/driver";
import { climb, dueBinding, exchangeTarget, queueTarget } from "./delay-ladder.ts";
import { replyCode, translate } from "./errors.ts";
import type { Groups } from "./groups.ts";
import type { Names } from "./names.ts";
import { routingKey } from "./routing.ts";

/** Exchange and routing key of one record; `target`: where the delay ladder leads it in the end. */
export interface Route {
  readonly exchange: string;
  readonly key: string;
  readonly target?: string;
}

/** Why there is none. */
export interface NoRoute {
  readonly outcome: "unroutable" | "not-stored";
  readonly error: DriverError;
}

/** Finds where an item goes, and makes sure that it is there: a publish to a missing exchange would cost the whole channel. */
export class Routes {
  readonly #names: Names;
  readonly #groups: Groups;
  readonly #runtime: Runtime;
  readonly #due = new Set<string>();

  constructor(names: Names, groups: Groups, runtime: Runtime) {
    this.#names = names;
    this.#groups = groups;
    this.#runtime = runtime;
  }

  /** Synchronous on the usual path: nothing delayed, and the exchange or group known. Never rejects. */
  find({ to, record, notBefore }: SendItem): Route | NoRoute | Promise<Route | NoRoute> {
    const waitMs = notBefore === undefined ? 0 : notBefore - this.#runtime.wallMs();
    if (waitMs <= 0) {
      const route = this.#direct(to, record.key);
      if (!(route instanceof Promise)) return route;
      return route.catch((error: unknown) => notStored(error, to));
    }
    return this.#delayed(to, record.key, waitMs).catch((error: unknown) => notStored(error, to));
  }

  #direct(to: Destination, key: Key): Route | Promise<Route | NoRoute> {
    if (to.group === undefined) {
      const exchange = this.#names.exchange(to.topic);
      const route = { exchange, key: routingKey(key) };
      const present = this.#groups.isPresent("exchange", exchange);
      return present === true ? route : present.then((yes) => (yes ? route : noTopic(to.topic)));
    }
    if (to.deadLetter) return { exchange: "", key: this.#names.deadLetters(to.topic, to.group) };
    const queue = this.#groups.queueOf(to.topic, to.group, key);
    if (typeof queue === "string") return { exchange: "", key: queue };
    const { topic, group } = to;
    return Promise.resolve(queue).then((found) =>
      found === undefined ? noGroup(topic, group) : { exchange: "", key: found },
    );
  }

  async #delayed(to: Destination, key: Key, waitMs: number): Promise<Route | NoRoute> {
    const step = climb(waitMs);
    const direct = await this.#direct(to, key);
    if (!step || "error" in direct) return direct;
    const exchange = this.#names.ladder(step.level);
    const end =
      to.group === undefined
        ? ({ kind: "exchange", name: direct.exchange } as const)
        : ({ kind: "queue", name: direct.key } as const);
    // What climbs down to nothing is tried again every three minutes for ever, so the destination is looked for before.
    if (!(await this.#groups.isPresent(end.kind, end.name))) {
      return to.group === undefined ? noTopic(to.topic) : noGroup(to.topic, to.group);
    }
    if (!(await this.#groups.isPresent("exchange", exchange))) return noLadder(exchange);
    await this.#ensureDue(end.kind, end.name);
    if (end.kind === "exchange")
      return { exchange, key: `${direct.key}.${step.words}`, target: exchangeTarget(end.name) };
    return { exchange, key: step.words, target: queueTarget(end.name) };
  }

  /** The last step of the ladder, for destinations that were declared without delays. */
  async #ensureDue(kind: "queue" | "exchange", name: string): Promise<void> {
    const { name: label, settings } = dueBinding(this.#names, name, kind);
    if (this.#due.has(label)) return;
    const { source, destination: _destination, to: _to, pattern: _pattern, ...given } = settings;
    await this.#groups
      .ask(`cannot bind ${label}`, (channel) =>
        kind === "queue"
          ? channel.bindQueue(name, String(source), "", given)
          : channel.bindExchange(name, String(source), "", given),
      )
      .catch((error: unknown) => {
        // A user who may not bind relies on what was provisioned.
        if (replyCode(error) !== 403) throw error;
      });
    this.#due.add(label);
  }
}

function noTopic(topic: string): NoRoute {
  const error = new DriverError(
    "NOT_FOUND",
    `rabbitmq: topic "${topic}" does not exist; create it, or connect with provision: 'create'`,
  );
  return { outcome: "not-stored", error };
}

function noGroup(topic: string, group: string): NoRoute {
  const text = `rabbitmq: group "${group}" of topic "${topic}" has no queue; subscribe it first, or declare it with the topic`;
  return { outcome: "unroutable", error: new DriverError("UNROUTABLE", text) };
}

function noLadder(exchange: string): NoRoute {
  const text = `rabbitmq: delays need exchange "${exchange}" and the queues behind it; connect with provision: 'create' and declare the delay`;
  return { outcome: "not-stored", error: new DriverError("NOT_FOUND", text) };
}

function notStored(error: unknown, to: Destination): NoRoute {
  return { outcome: "not-stored", error: translate(error, `cannot send to topic "${to.topic}"`) };
}
