import type { Resource } from "@sluice/core/driver";
import type { Names } from "./names.ts";

/**
 * Delays as a binary ladder. Level n is a queue whose messages expire after 2^n seconds and a topic exchange in front of it. The
 * last words of the routing key are the delay in seconds, highest bit first: a 1 leads into the level's queue and from there one
 * level down, a 0 straight one level down. So every message of a queue waits equally long, and nobody waits behind another.
 * After level 0 a headers exchange leads to the destination: a group's queue, or a topic's exchange.
 */
export const levels = 28;

/** Delays are whole seconds. */
export const ladderStepMs = 1_000;

/** The longest delay: about eight and a half years. */
export const ladderMs: number = (2 ** levels - 1) * ladderStepMs;

/** The header by which the ladder finds the destination. */
export const targetHeader = "sluice-to";

/** Level to enter at, and the words after the record's own routing key. `undefined`: due now. */
export function climb(waitMs: number): { readonly level: number; readonly words: string } | undefined {
  // Rounded up: nobody may see it earlier. A broker starts the time when the message arrives there, later than we computed it.
  const seconds = Math.ceil(waitMs / ladderStepMs);
  if (seconds <= 0) return undefined;
  const bits = seconds.toString(2);
  return { level: bits.length - 1, words: bits.split("").join(".") };
}

/** A name for the destination of a delayed record; queues and exchanges have separate names on the broker. */
export function queueTarget(queue: string): string {
  return `queue:${queue}`;
}

export function exchangeTarget(exchange: string): string {
  return `exchange:${exchange}`;
}

/** Exchanges and queues of the whole ladder, lowest level first, so that whatever exists leads to something. */
export function ladder(names: Names): readonly Resource[] {
  const end = { type: "headers", durable: true };
  const resources: Resource[] = [
    {
      kind: "exchange",
      name: names.due(),
      settings: end,
      shared: true,
      actions: { provision: ["configure", "read", "write"] },
    },
  ];
  for (let level = 0; level < levels; level++) {
    const name = names.ladder(level);
    const below = level === 0 ? names.due() : names.ladder(level - 1);
    resources.push(
      { kind: "exchange", name, settings: { type: "topic", durable: true }, shared: true, actions: stepActions },
      { kind: "queue", name, settings: waitingQueue(level, below), shared: true, actions: waitingActions },
      { ...binding(name, name, "queue", `#.1${".*".repeat(level)}`), shared: true },
      { ...binding(name, below, "exchange", `#.0${".*".repeat(level)}`), shared: true },
    );
  }
  return resources;
}

const stepActions: NonNullable<Resource["actions"]> = {
  provision: ["configure", "read", "write"],
  publish: ["write"],
  consume: ["write"],
};

const waitingActions: NonNullable<Resource["actions"]> = { provision: ["configure", "read", "write"] };

/** Leads due records to their destination. */
export function dueBinding(names: Names, destination: string, kind: "queue" | "exchange"): Resource {
  const target = kind === "queue" ? queueTarget(destination) : exchangeTarget(destination);
  return {
    kind: "binding",
    name: `${names.due()} -> ${kind} ${destination}`,
    settings: { source: names.due(), destination, to: kind, pattern: "", "x-match": "all", [targetHeader]: target },
    actions: bindingActions(names.due(), destination),
  };
}

/** To bind is to read from the one and to write to the other. */
export function bindingActions(source: string, destination: string): NonNullable<Resource["actions"]> {
  return { provision: [`read ${source}`, `write ${destination}`] };
}

/** n.b. at-least-once dead lettering needs `reject-publish`; with any other overflow it silently becomes at-most-once. */
function waitingQueue(level: number, below: string): Resource["settings"] {
  return {
    durable: true,
    "x-queue-type": "quorum",
    "x-message-ttl": 2 ** level * ladderStepMs,
    "x-dead-letter-exchange": below,
    "x-dead-letter-strategy": "at-least-once",
    "x-overflow": "reject-publish",
  };
}

function binding(source: string, destination: string, to: "queue" | "exchange", pattern: string): Resource {
  return {
    kind: "binding",
    name: `${source} -> ${to} ${destination} (${pattern})`,
    settings: { source, destination, to, pattern },
    actions: bindingActions(source, destination),
  };
}
