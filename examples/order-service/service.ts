// The service: two topics, three groups and a broadcast. Nothing here knows which broker carries the messages. Copy this file.
import { type Bus, PermanentError, type Subscription, type Topic, topic } from "@sluice/core";
import { z } from "zod";

export interface Order {
  readonly orderId: string;
  readonly customerId: string;
  readonly email: string;
  readonly item: string;
  readonly quantity: number;
  readonly total: number;
  readonly payment: string;
  readonly destination: string;
}

export interface Shipment {
  readonly orderId: string;
  readonly email: string;
  readonly item: string;
}

const order: z.ZodType<Order, Order> = z.object({
  orderId: z.string().min(1),
  customerId: z.string().min(1),
  email: z.email(),
  item: z.string(),
  quantity: z.int().positive(),
  total: z.number().nonnegative(),
  payment: z.string(),
  destination: z.string(),
});

const shipment: z.ZodType<Shipment, Shipment> = z.object({ orderId: z.string(), email: z.email(), item: z.string() });

/** Orders of one customer are handled one after another; a failed one holds its customer, and nobody else. */
export const OrderPlaced: Topic<Order, Order, "orders.placed"> = topic("orders.placed", {
  schema: order,
  key: ({ customerId }) => customerId,
  groups: ["billing", "shipping"],
});

/** No key, so no order: a failed message waits in the group's own entry while the others go on. */
export const OrderShipped: Topic<Shipment, Shipment, "orders.shipped"> = topic("orders.shipped", {
  schema: shipment,
  groups: ["mailer"],
});

/** Given to every partner, so that a message that is delivered twice is charged once. */
export interface Call {
  readonly idempotencyKey: string;
  readonly signal: AbortSignal;
}

/** The world outside: what the handlers call. */
export interface Partners {
  /** @throws PermanentError when this customer can never pay */
  charge(order: Order, call: Call): Promise<void>;
  isInStock(order: Order, call: Call): boolean;
  ship(order: Order, call: Call): Promise<void>;
  wantsMail(email: string): boolean;
  mail(shipment: Shipment, call: Call): Promise<void>;
  show(order: Order): void;
}

/** Resolves when every subscription is live. */
export function startService(bus: Bus, partners: Partners): Promise<readonly Subscription[]> {
  return Promise.all([
    billing(bus, partners),
    shipping(bus, partners),
    mailer(bus, partners),
    dashboard(bus, partners),
  ]);
}

const ordersRetry = { attempts: 4, firstDelay: "50ms", factor: 2 } as const;

function billing(bus: Bus, partners: Partners): Promise<Subscription> {
  return bus.subscribe(OrderPlaced, { group: "billing", retry: ordersRetry }, async (placed, context) => {
    const call = { idempotencyKey: context.message.id, signal: context.signal };
    if (placed.payment === "closed-account") throw new PermanentError(`${placed.customerId} has closed the account`);
    await partners.charge(placed, call);
  });
}

function shipping(bus: Bus, partners: Partners): Promise<Subscription> {
  // Each run waits for the broker's confirmation of what it publishes: more of them at once.
  return bus.subscribe(
    OrderPlaced,
    { group: "shipping", retry: ordersRetry, concurrency: 64 },
    async (placed, context) => {
      const { orderId, email, item } = placed;
      const call = { idempotencyKey: context.message.id, signal: context.signal };
      if (!partners.isInStock(placed, call)) return context.defer("40ms", `${item} is not in stock yet`);
      await partners.ship(placed, call);
      await context.publish(OrderShipped, { orderId, email, item }, { id: `${context.message.id}.shipped` });
    },
  );
}

function mailer(bus: Bus, partners: Partners): Promise<Subscription> {
  // Waits of more than 10 ms leave this process, so that a crash forgets no attempt.
  const retry = { attempts: 4, firstDelay: "50ms", factor: 2, inPlace: "10ms" } as const;
  return bus.subscribe(OrderShipped, { group: "mailer", retry }, async (shipped, context) => {
    if (!partners.wantsMail(shipped.email)) return context.drop("the customer wants no mail");
    await partners.mail(shipped, { idempotencyKey: context.message.id, signal: context.signal });
  });
}

function dashboard(bus: Bus, partners: Partners): Promise<Subscription> {
  return bus.subscribe(OrderPlaced, { broadcast: "dashboard" }, (placed) => partners.show(placed));
}
