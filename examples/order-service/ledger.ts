// Who saw which message: by its id, from the bus's events and from the partners' own books. Kept apart from the service.
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import {
  type AttemptFailedEvent,
  events,
  type PublishedEvent,
  type PublishFailedEvent,
  type SettledEvent,
} from "@sluice/core";
import { OrderPlaced, OrderShipped } from "./service.ts";

/** One group's page. */
export class GroupPage {
  readonly group: string;
  readonly topic: string;
  /** How often the partners served a message, by id. */
  readonly effects: Map<string, number> = new Map();
  readonly dropped: Map<string, string> = new Map();
  /** Confirmed by the broker, and without a fate so far. */
  readonly waiting: Set<string> = new Set();
  /** Every dead letter that was written, by reason. */
  readonly deadLettered: Map<string, number> = new Map();
  /** Every message that was a dead letter at some time. */
  readonly deadIds: Set<string> = new Set();
  readonly redriven: Set<string> = new Set();
  failures = 0;
  ownEntry = 0;
  outOfOrder = 0;
  /** Ids with a fate; a redriven message leaves it again. */
  readonly settled: Set<string> = new Set();
  readonly newest: Map<string, string> = new Map();

  constructor(group: string, topic: string) {
    this.group = group;
    this.topic = topic;
  }
}

export class Ledger {
  /** Begins every message id of this run, so that a broker may hold messages of earlier runs. */
  readonly run: string;
  readonly pages: readonly GroupPage[] = [
    new GroupPage("billing", OrderPlaced.name),
    new GroupPage("shipping", OrderPlaced.name),
    new GroupPage("mailer", OrderShipped.name),
  ];
  readonly confirmed: Map<string, Set<string>> = new Map([
    [OrderPlaced.name, new Set()],
    [OrderShipped.name, new Set()],
  ]);
  /** Failed publishes that the broker may have stored all the same. */
  readonly unknown: Set<string> = new Set();
  /** Orders that were not published, by reason. */
  readonly refused: Map<string, number> = new Map();
  /** Milliseconds from the publishing of an order to the first work on it. */
  readonly waits: number[] = [];
  readonly #sentAt = new Map<string, number>();
  read = 0;
  seen = 0;
  revenue = 0;
  #changed: (() => void) | undefined;

  constructor(run: string) {
    this.run = run;
  }

  /** Listens to the bus of this process; call what it returns to stop. */
  listen(): () => void {
    // A channel does not know the type of its events; the names do.
    const listeners = [
      [events.published.name, (event: unknown) => this.#published(event as PublishedEvent)],
      [events.publishFailed.name, (event: unknown) => this.#publishFailed(event as PublishFailedEvent)],
      [events.attemptFailed.name, (event: unknown) => this.#attemptFailed(event as AttemptFailedEvent)],
      [events.settled.name, (event: unknown) => this.#settled(event as SettledEvent)],
    ] as const;
    for (const [name, listener] of listeners) subscribe(name, listener);
    return () => {
      for (const [name, listener] of listeners) unsubscribe(name, listener);
    };
  }

  /** Of the order that was read last. Leading zeros: ids sort as the orders were read. */
  nextId(): string {
    return `${this.run}-${String(this.read).padStart(8, "0")}`;
  }

  /** An order is about to be published under this id. */
  sending(id: string): void {
    this.#sentAt.set(id, performance.now());
  }

  /** Somebody began to work on an order; only the first time counts. */
  working(id: string): void {
    const sentAt = this.#sentAt.get(id);
    if (sentAt === undefined) return;
    this.waits.push(performance.now() - sentAt);
    this.#sentAt.delete(id);
  }

  /** Fates so far, over all groups. */
  get fates(): number {
    return this.pages.reduce((all, page) => all + page.settled.size, 0);
  }

  refuse(reason: string): void {
    add(this.refused, reason);
  }

  get refusedCount(): number {
    return [...this.refused.values()].reduce((all, count) => all + count, 0);
  }

  /** A partner served this message. `lane`: what must be served in order. */
  effect(group: string, id: string, lane: string | undefined): void {
    const page = this.#page(group, id);
    if (!page) return;
    const times = page.effects.get(id) ?? 0;
    page.effects.set(id, times + 1);
    if (lane === undefined || times > 0 || page.redriven.has(id)) return;
    // Ids of a run are numbered with leading zeros, so that they sort as they were published.
    if (id < (page.newest.get(lane) ?? "")) page.outOfOrder++;
    else page.newest.set(lane, id);
  }

  shown(total: number): void {
    this.seen++;
    this.revenue += total;
  }

  /** Taken out of the dead letters, on its way to its group. */
  redrive(page: GroupPage, id: string): void {
    page.redriven.add(id);
    page.settled.delete(id);
    page.waiting.add(id);
  }

  /** Whether every confirmed message found its fate; `false` when nothing has moved for `patienceMs`. */
  quiet(patienceMs: number): Promise<boolean> {
    return new Promise((resolve) => {
      const finish = (all: boolean) => {
        clearTimeout(timer);
        this.#changed = undefined;
        resolve(all);
      };
      const timer = setTimeout(() => finish(false), patienceMs);
      this.#changed = () => {
        if (this.pages.every((page) => page.waiting.size === 0)) finish(true);
        else timer.refresh();
      };
      this.#changed();
    });
  }

  #published({ topic, id }: PublishedEvent): void {
    this.confirmed.get(topic)?.add(id);
    for (const page of this.pages) if (page.topic === topic && !page.settled.has(id)) page.waiting.add(id);
  }

  #publishFailed({ id, error }: PublishFailedEvent): void {
    if (error.outcome === "unknown") this.unknown.add(id);
  }

  #attemptFailed({ group, id, error }: AttemptFailedEvent): void {
    const page = this.#page(group, id);
    // Deferring is no failure, and comes without an error.
    if (page && error !== undefined) page.failures++;
    this.#changed?.();
  }

  #settled({ group, id, fate, reason = "" }: SettledEvent): void {
    const page = this.#page(group, id);
    if (!page) return;
    if (fate === "retry" && reason !== "drain") {
      page.ownEntry++;
      page.failures++;
    }
    if (fate === "drop") page.dropped.set(id, reason);
    if (fate === "dead-letter") {
      add(page.deadLettered, reason);
      page.deadIds.add(id);
    }
    if (fate === "done" || fate === "drop" || fate === "dead-letter") {
      page.settled.add(id);
      page.waiting.delete(id);
    }
    this.#changed?.();
  }

  #page(group: string, id: string): GroupPage | undefined {
    return id.startsWith(this.run) ? this.pages.find((page) => page.group === group) : undefined;
  }
}

export function add(counts: Map<string, number>, name: string): void {
  counts.set(name, (counts.get(name) ?? 0) + 1);
}
