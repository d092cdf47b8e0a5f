import type { Capabilities, Delivery, Key, Receiver, SendItem } from "../driver/index.ts";
import { wire } from "../driver/index.ts";
import type { AnyTopic } from "../topic.ts";
import type { RunResult } from "./fate.ts";
import type { HandlerContext } from "./handler-context.ts";

/**
 * One delivery inside the engine. `waiting`: in its lane or in the queue of what may run; `running`; `unwrapping`: the delivery
 * middleware has the result; `pausing`: between two runs here; `leaving`: its fate is decided; `gone`: settled or lost.
 */
export type WorkState = "waiting" | "running" | "unwrapping" | "pausing" | "leaving" | "gone";

/** Shared by all that publish nothing; never written to. */
const none: SendItem[] = [];

export class Work {
  readonly delivery: Delivery;
  readonly receiver: Receiver;
  readonly topic: AnyTopic;
  readonly id: string;
  /** Its lane, until it leaves it; `undefined` when any order will do. */
  lane: string | undefined;
  state: WorkState = "waiting";
  /** The next one of the lane. */
  next: Work | undefined = undefined;
  /** Failed attempts of this group, in this process and before. */
  failures: number;
  /** Another holder has it, or will: never settled by us. */
  lost = false;
  /** Its time limit passed while it ran. */
  overdue = false;
  startedMs = 0;
  context: HandlerContext | undefined = undefined;
  /** What the current run published into its transaction. */
  outbox: SendItem[] = none;
  /** Ends the wait between two runs, or for its copy. */
  cancelWait: (() => void) | undefined = undefined;
  /** Set while delivery middleware is around it: takes the result of the last run here. */
  unwrap: ((result: RunResult) => void) | undefined = undefined;

  /** `newId` names a foreign message that has no id: its copies keep that name. */
  constructor(delivery: Delivery, receiver: Receiver, topic: AnyTopic, ordered: boolean, newId: () => string) {
    this.delivery = delivery;
    this.receiver = receiver;
    this.topic = topic;
    this.id = delivery.id ?? newId();
    this.lane = ordered && delivery.key !== null ? laneName(topic.name, delivery.key) : undefined;
    this.failures = count(delivery.headers[wire.attempts]);
  }

  /** Joins the transaction of the current run. */
  publish(item: SendItem): void {
    if (this.outbox === none) this.outbox = [];
    this.outbox.push(item);
  }

  /** A new run begins with nothing published. */
  forgetPublished(): void {
    this.outbox = none;
  }

  /** Which run of the handler this is, or would be next, from 1. */
  get attempt(): number {
    return this.failures + 1;
  }

  get bytes(): number {
    return this.delivery.body?.byteLength ?? 0;
  }
}

function laneName(topic: string, key: Exclude<Key, null>): string {
  return `${topic} ${typeof key === "string" ? key : Buffer.from(key).toString("latin1")}`;
}

/**
 * What goes back goes as a copy to the own entry instead: so that failed attempts are not forgotten; and where the broker counts
 * returns like crashes, so that many orderly restarts make no suspect of a message that never did any harm.
 */
export function mustMoveOn({ failures, delivery }: Work, { release }: Capabilities): boolean {
  if (failures > count(delivery.headers[wire.attempts])) return true;
  return release !== "absent" && release.counted && handOuts(delivery) > 1;
}

/** How often the message was handed out without coming to an end, this time included, over all copies of this attempt. */
export function handOuts(delivery: Delivery): number {
  return (delivery.deliveries ?? 1) + count(delivery.headers[wire.handOuts]);
}

/** A decimal header; anything else counts as 0. */
export function count(text: string | undefined): number {
  return text !== undefined && /^\d{1,9}$/.test(text) ? Number(text) : 0;
}
