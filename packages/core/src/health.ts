import type { SubscriptionHealth } from "./consume/subscription.ts";
import type { SendQueueHealth } from "./publish/send-queue-options.ts";

export interface Health {
  /** `up`: everything works. `degraded`: it heals by itself. `down`: closed, or without a connection. */
  readonly status: "up" | "degraded" | "down";
  readonly driver: string;
  /** Product and version as the broker says; `undefined` without a connection. */
  readonly server: string | undefined;
  readonly connection: "open" | "reconnecting" | "closed";
  readonly blocked: boolean;
  readonly publish: SendQueueHealth;
  readonly subscriptions: readonly SubscriptionHealth[];
}

/** States of a subscription in which it handles messages, or was asked not to. */
const wellStates = new Set(["live", "paused"]);

export function statusOf(health: Omit<Health, "status">): Health["status"] {
  if (health.connection !== "open") return "down";
  const ill = health.subscriptions.some(
    (subscription) => !wellStates.has(subscription.state) || subscription.counters.stuck > 0,
  );
  return ill || health.blocked || health.publish.lastError ? "degraded" : "up";
}

/** `200` while restarting the process would not help: closed is the only death. */
export function livezResponse(health: Health): Response {
  return Response.json({ status: health.status }, { status: health.connection === "closed" ? 503 : 200 });
}

/** `200` while work should be sent here. */
export function readyzResponse(health: Health): Response {
  return Response.json(health, { status: health.status === "down" ? 503 : 200 });
}
