// Stand-ins for a bank, a carrier and a mail server. What they do depends on the order, so that a run can be repeated.
import { setTimeout as sleep } from "node:timers/promises";
import type { Ledger } from "./ledger.ts";
import type { Call, Partners } from "./service.ts";

export interface World extends Partners {
  /** What the programmers do on the next day: from now on vouchers can be booked, and odd addresses get their mail. */
  fix(): void;
}

/** Each call takes about `workMs`. Whoever was served is written into the ledger under the message's id. */
export function createWorld(ledger: Ledger, workMs: number): World {
  let fixed = false;
  const seen = new Set<string>();
  const isFirst = (what: string, { idempotencyKey }: Call): boolean => {
    const known = seen.has(`${what} ${idempotencyKey}`);
    seen.add(`${what} ${idempotencyKey}`);
    return !known;
  };
  const work = ({ signal }: Call): Promise<void> => sleep(workMs, undefined, { signal });
  return {
    fix: () => void (fixed = true),
    async charge(order, call) {
      ledger.working(call.idempotencyKey);
      await work(call);
      if (order.payment === "slow-bank" && isFirst("charge", call)) throw new Error("the bank timed out");
      if (order.payment === "voucher" && !fixed) throw new TypeError("no account to book vouchers on");
      ledger.effect("billing", call.idempotencyKey, order.customerId);
    },
    isInStock: (order, call) => order.item !== "sofa" || !isFirst("stock", call),
    async ship(order, call) {
      await work(call);
      if (order.destination === "island" && isFirst("ship", call)) throw new Error("the ferry is late");
      ledger.effect("shipping", call.idempotencyKey, order.customerId);
    },
    wantsMail: (email) => !email.endsWith("@quiet.example"),
    async mail(shipment, call) {
      await work(call);
      if (shipment.email.endsWith("@slow.example") && isFirst("mail", call)) throw new Error("451 try again later");
      if (shipment.email.includes("+") && !fixed) throw new TypeError("cannot write to an address with a plus");
      ledger.effect("mailer", call.idempotencyKey, undefined);
    },
    show: (order) => ledger.shown(order.total),
  };
}
