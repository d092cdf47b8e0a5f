// From order to receipt in six groups, each of which publishes for the next one: on its own broker, where there are several.
import { randomBytes } from "node:crypto";
import { type Bus, PermanentError } from "@sluice/core";
import { filter, inbox, rateLimit } from "@sluice/middleware";
import type { PortableCapabilities } from "@sluice/url";
import type { Ledger } from "./ledger.ts";
import { once } from "./middleware.ts";
import {
  type Invoice,
  InvoiceMade,
  LabelDrawn,
  MailRequested,
  OrderDone,
  OrderPlaced,
  ParcelPacked,
} from "./topics.ts";

export type AnyBus = Bus<PortableCapabilities>;

/** The world outside, which fails now and then. */
export interface World {
  charge(order: string): void;
  /** @throws Error when the courier does not come this time */
  callCourier(order: string, attempt: number): void;
  /** @throws Error while there is no such mailbox */
  deliver(order: string): void;
  archive(order: string): void;
}

const retry = { attempts: 3, firstDelay: "50ms" } as const;

/** @param at the broker of a step, from 0 */
export async function startService(at: (step: number) => AnyBus, ledger: Ledger, world: World): Promise<void> {
  await at(0).subscribe(
    OrderPlaced,
    { group: "billing", retry, middleware: { attempt: [once] } },
    async ({ id, items }) => {
      world.charge(id);
      await at(1).publish(InvoiceMade, { order: id, cents: 990 * items.length });
    },
  );
  // Who only counts needs neither every message nor all of the processor.
  const delivery = [
    filter(function isCustomer({ message }) {
      return message.headers["customer"] !== "test";
    }),
    rateLimit({ limit: 1000, per: "1s" }),
  ];
  await at(0).subscribe(OrderPlaced, { group: "statistics", retry, middleware: { delivery } }, () => {});
  // What it writes with `transaction` is there once, and only if everything here went well.
  const book = inbox(ledger, async ({ order, cents }: Invoice, { transaction }) => {
    await transaction.query("INSERT INTO ledger VALUES ($1, $2)", [order, cents]);
    await at(2).publish(ParcelPacked, { order, grams: 400 });
  });
  await at(1).subscribe(InvoiceMade, { group: "ledger", retry }, book);
  // `inPlace: 0`: a retry is a copy on the broker, so that other parcels pass.
  await at(2).subscribe(
    ParcelPacked,
    { group: "shipping", retry: { ...retry, inPlace: 0 } },
    async ({ order }, { message }) => {
      world.callCourier(order, message.attempt);
      await at(3).publish(LabelDrawn, { order, picture: randomBytes(16 * 1024).toString("hex") });
    },
  );
  await at(3).subscribe(LabelDrawn, { group: "printer", retry }, async ({ order, picture }) => {
    await at(4).publish(MailRequested, { order, text: `Your label has ${picture.length} characters` });
  });
  await at(4).subscribe(MailRequested, { group: "mailer", retry }, async ({ order }) => {
    try {
      world.deliver(order);
    } catch (error) {
      throw new PermanentError("the mail cannot be delivered", { cause: error });
    }
    await at(5).publish(OrderDone, { order });
  });
  await at(5).subscribe(OrderDone, { group: "archive", retry }, ({ order }) => world.archive(order));
}
