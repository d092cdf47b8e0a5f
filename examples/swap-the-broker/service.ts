// The handlers. They are the same, byte for byte, on every broker.
import { type Bus, PermanentError, topic, type Topic } from "@sluice/core";
import { z } from "zod";

export interface Payment {
  readonly account: string;
  readonly amount: number;
}

export interface Mail {
  readonly to: string;
  readonly text: string;
}

/** Payments of one account are booked in order. */
export const PaymentMade: Topic<Payment, Payment, "swap.payments"> = topic("swap.payments", {
  schema: z.object({ account: z.string(), amount: z.number() }),
  key: ({ account }) => account,
  groups: ["ledger", "fraud"],
  shards: 2,
});

/** Mails go out in any order; one that fails waits while the others pass. */
export const MailRequested: Topic<Mail, Mail, "swap.mails"> = topic("swap.mails", {
  schema: z.object({ to: z.string(), text: z.string() }),
  groups: ["mailer"],
});

/** The world outside, which fails now and then. */
export interface World {
  /** @throws Error when the bank does not answer this time */
  book(payment: Payment, attempt: number): void;
  check(payment: Payment): void;
  /** @throws TypeError while the program has a bug */
  send(mail: Mail, id: string): void;
  audit(mail: Mail): void;
  show(payment: Payment): void;
}

/** One instance of the service; several share the work of each group. */
export async function startService(bus: Bus, world: World): Promise<void> {
  const retry = { attempts: 3, firstDelay: "20ms", factor: 2 } as const;
  await Promise.all([
    bus.subscribe(PaymentMade, { group: "ledger", retry }, (payment, context) => {
      if (payment.amount < 0) throw new PermanentError("a payment is never negative");
      world.book(payment, context.message.attempt);
    }),
    bus.subscribe(PaymentMade, { group: "fraud", retry }, (payment) => world.check(payment)),
    bus.subscribe(MailRequested, { group: "mailer", retry: { ...retry, inPlace: "10ms" } }, (mail, context) => {
      if (mail.to.endsWith("@quiet.example")) return context.drop("the reader wants no mail");
      if (mail.to.endsWith("@gone.example")) return context.deadLetter("the mailbox is gone");
      world.send(mail, context.message.id);
    }),
    bus.subscribe(MailRequested, { group: "audit", filter: { class: "legal" } }, (mail) => world.audit(mail)),
    bus.subscribe(PaymentMade, { broadcast: "dashboard" }, (payment) => world.show(payment)),
  ]);
}
