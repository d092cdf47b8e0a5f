import type { Attributes, BatchObservableResult, Observable } from "@opentelemetry/api";
import type { Context, Draft, Driver, Resource } from "@sluice/core";
import type { DeclaredTopic } from "@sluice/core/driver";
import { type Words, wordsOf } from "./conventions.ts";
import { type View, viewOf } from "./view.ts";

/** What all spans and metrics of one topic, or of one group of it, have in common. */
export interface Place {
  /** The broker's own name of what is written to, or read from. */
  readonly destination: string;
  /** Of its spans: the verb and the destination. */
  readonly name: string;
  readonly span: Attributes;
  /** Without names once there are too many of them. */
  readonly metric: Attributes;
  /** `metric` with the type of the operation. */
  readonly operation: Attributes;
  /** Whether `metric` has them. */
  readonly named: boolean;
  /** Messages that handlers have now. */
  inFlight: number;
}

export interface PlacesOptions {
  readonly attributes: Attributes;
  /** Most places that metrics tell apart. */
  readonly most: number;
}

/** Places that are remembered; a name beyond them is looked up for each message. */
const mostKept = 10_000;

/** What topics and groups are called on the broker. Learns how they were declared from what core asks the driver. */
export class Places {
  readonly words: Words;
  readonly #driver: Driver;
  readonly #options: PlacesOptions;
  readonly #declared = new Map<string, DeclaredTopic>();
  readonly #places = new Map<string, Place>();
  /** Metric attributes of what is counted without names, by verb. */
  readonly #nameless = new Map<string, Attributes>();
  /** Shown in the broker's own tools; known before anything is sent or handled. */
  clientName = "sluice";

  constructor(driver: Driver, options: PlacesOptions) {
    this.words = wordsOf(driver);
    this.#driver = driver;
    this.#options = options;
  }

  declare(topics: readonly DeclaredTopic[]): void {
    for (const topic of topics) {
      // n.b. core also asks about one group at a time: what it does not name then is still there.
      const before = this.#declared.get(topic.name)?.groups ?? [];
      const others = before.filter(({ name }) => !topic.groups.some((group) => group.name === name));
      this.#declared.set(topic.name, { ...topic, groups: [...others, ...topic.groups] });
    }
  }

  /** Where a publish goes. */
  sending({ name, ordering, shards }: Draft["topic"]): Place {
    const known = this.#places.get(name);
    if (known) return known;
    if (!this.#declared.has(name)) {
      this.declare([{ name, ordered: ordering === "key", shards, delays: false, groups: [] }]);
    }
    return this.#keep(name, this.words.sendSystem, this.words.send, "send", this.#topic(name), {});
  }

  /** Where a group's messages, or a broadcast's, come from. */
  handling(topic: string, group: string): Place {
    // Names have no blanks.
    const key = `${topic} ${group}`;
    const known = this.#places.get(key);
    if (known) return known;
    const { system, process } = this.words;
    const queue = this.#queue(topic, group);
    const subscription =
      this.#driver.name === "google-pubsub" ? { "messaging.destination.subscription.name": queue } : {};
    const own = { "messaging.consumer.group.name": group, ...subscription };
    return this.#keep(key, system, process, "process", queue, own);
  }

  /** Reports what handlers have now. */
  observe(result: BatchObservableResult, inFlight: Observable): void {
    const sums = new Map<Attributes, number>();
    for (const place of this.#places.values()) {
      if (place.span["messaging.operation.type"] !== "process") continue;
      sums.set(place.metric, (sums.get(place.metric) ?? 0) + place.inFlight);
    }
    for (const [attributes, sum] of sums) result.observe(inFlight, sum, attributes);
  }

  #keep(key: string, system: string, verb: string, type: string, destination: string, own: Attributes): Place {
    const { attributes, most } = this.#options;
    const common = { ...attributes, "messaging.system.name": system, "messaging.operation.name": verb };
    const names = { "messaging.destination.name": destination, ...own };
    const nameless = this.#nameless.get(verb) ?? common;
    this.#nameless.set(verb, nameless);
    const named = this.#places.size < most;
    const metric = named ? { ...common, ...names } : nameless;
    const place: Place = {
      destination,
      name: `${verb} ${destination}`,
      span: { ...common, "messaging.operation.type": type, ...names, "messaging.client.id": this.clientName },
      metric,
      operation: { ...metric, "messaging.operation.type": type },
      named,
      inFlight: 0,
    };
    if (this.#places.size < mostKept) this.#places.set(key, place);
    return place;
  }

  #topic(name: string): string {
    const resources = this.#resources(name, undefined);
    return resources.find(({ kind }) => /^(topic|exchange|stream|channel)$/.test(kind))?.name ?? name;
  }

  /** What a group reads from, where it is another thing than the topic. */
  #queue(name: string, group: string): string {
    const topic = this.#topic(name);
    const resources = this.#resources(name, group);
    switch (this.#driver.name) {
      case "rabbitmq":
        return rabbitName(topic, "", resources.find(({ kind }) => kind === "shards")?.name ?? "");
      case "sqs-sns":
        return resources.find(({ kind }) => kind === "subscription")?.name ?? topic;
      case "google-pubsub":
        return (
          resources.find(({ kind, settings }) => kind === "subscription" && settings["topic"] === topic)?.name ?? topic
        );
      default:
        return topic;
    }
  }

  #resources(name: string, group: string | undefined): readonly Resource[] {
    const declared = this.#declared.get(name) ?? { name, ordered: false, shards: 1 };
    const known = this.#declared.get(name)?.groups.filter((each) => each.name === group) ?? [];
    try {
      const topics = [{ ...declared, delays: false, groups: known }];
      return this.#driver.topology({ topics }).filter(({ shared }) => !shared);
    } catch {
      return [];
    }
  }
}

/** Exchange, routing key and queue as one name: without what is empty, and without saying the same twice. */
export function rabbitName(exchange: string, routingKey: string, queue: string): string {
  const parts = [exchange, routingKey === queue ? "" : routingKey, queue].filter((part) => part !== "");
  return parts.join(":") || "amq.default";
}

/** Routing keys that the driver itself makes: words of a key's hash, which would make a name of its own out of each. */
const ownRoutingKey = /^(u|k(\.[01]){10})$/;

/** Where the driver's delays end: from there a message goes straight to its queue, by a routing key of the driver's. */
const dueExchange = /(^|\.)sluice\.delay\.due$/;

/** Adds what only this message has, in the broker's own words. */
export function addDetails(attributes: Attributes, driver: string, { message, native, shard }: Context): void {
  switch (driver) {
    case "kafka":
      addKey(attributes, driver, message.key);
      return addKafka(attributes, viewOf(native));
    case "rabbitmq":
      return addRabbit(attributes, viewOf(viewOf(native)["fields"]), shard);
    case "google-pubsub":
      addKey(attributes, driver, message.key);
      if (message.deliveries !== undefined) attributes["gcp.pubsub.message.delivery_attempt"] = message.deliveries;
  }
}

function addKafka(attributes: Attributes, native: View): void {
  const { topic, partition, offset, value } = native;
  // A retry comes from the group's own entry, which is a topic, too: partition and offset are of that one.
  if (typeof topic === "string") attributes["messaging.destination.name"] = topic;
  if (typeof partition === "number") attributes["messaging.destination.partition.id"] = String(partition);
  if (typeof offset === "string") attributes["kafka.offset"] = Number(offset);
  if (value === null) attributes["kafka.message.tombstone"] = true;
}

function addRabbit(attributes: Attributes, fields: View, shard: string): void {
  const { exchange, routingKey: key, deliveryTag: tag } = fields;
  if (typeof exchange !== "string" || typeof key !== "string") return;
  if (typeof tag === "number") attributes["rabbitmq.message.delivery_tag"] = tag;
  if (dueExchange.test(exchange)) {
    attributes["messaging.destination.name"] = shard;
    return;
  }
  attributes["messaging.destination.name"] = rabbitName(exchange, ownRoutingKey.test(key) ? "" : key, shard);
  if (key !== "") attributes["rabbitmq.destination.routing_key"] = key;
}

/** Adds the key, where the broker has one of its own and it is text. */
export function addKey(attributes: Attributes, driver: string, key: Draft["key"]): void {
  if (typeof key !== "string") return;
  if (driver === "kafka") attributes["kafka.message.key"] = key;
  else if (driver === "google-pubsub") attributes["gcp.pubsub.message.ordering_key"] = key;
}
