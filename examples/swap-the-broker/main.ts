// The same service on the broker that BROKER_URL names. It prints what an observer sees: the same on every broker.
import { randomUUID } from "node:crypto";
import { type Bus, connect, topic } from "@sluice/core";
import { fromUrl } from "@sluice/url";
import { Behaviour } from "./behaviour.ts";
import { MailRequested, PaymentMade, startService } from "./service.ts";

/** The only line that knows about brokers. */
const open = async (): Promise<Bus> => connect(await fromUrl(process.env["BROKER_URL"] ?? "memory://swap"));

/** The topic as an old program knows it: without a schema, so that a broken payment reaches the handlers. */
const OldPaymentMade = topic<{ readonly account: string }>(PaymentMade.name, {
  key: ({ account }) => account,
  groups: PaymentMade.groups,
  shards: PaymentMade.shards,
});

const run = randomUUID().slice(0, 8);
const behaviour = new Behaviour(run);
const instances = [await open(), await open()];
const [bus] = instances as [Bus, Bus];
for (const instance of instances) await startService(instance, behaviour.world());

const payments = [
  { account: "ada", amount: 10 },
  { account: "ada", amount: 13 },
  { account: "ada", amount: 20 },
  { account: "ben", amount: 5 },
  { account: "ben", amount: -1 },
  { account: "ben", amount: 6 },
];
for (const [index, payment] of payments.entries()) {
  await bus.publish(PaymentMade, payment, { id: `${run}-payment-${index}` });
}
await bus.publish(OldPaymentMade, { account: "old" }, { id: `${run}-payment-old` });

const mail = (id: string, to: string, headers: Record<string, string> = {}): Promise<unknown> =>
  bus.publish(MailRequested, { to, text: `mail ${id}` }, { id: `${run}-mail-${id}`, headers });
await mail("plain", "ada@mail.example");
await mail("plus", "ada+news@mail.example");
await mail("quiet", "ben@quiet.example");
await mail("gone", "cleo@gone.example");
await mail("legal", "dora@mail.example", { class: "legal" });
const due = Date.now() + 1500;
await bus.publish(
  MailRequested,
  { to: "eve@mail.example", text: "mail later" },
  { id: `${run}-mail-later`, deliverAt: new Date(due) },
);
const later = instances.map((each) => each.settled(MailRequested, { group: "mailer", id: `${run}-mail-later` }));
void Promise.race(later).then(() => behaviour.note(`the delayed mail came too early: ${Date.now() < due}`));

// Seven payments in two groups, six mails in one, of which the audit sees one. Two dashboards show the six that are whole.
const everything = { fates: 7 * 2 + 6 + 1, shown: 6 * 2 };
await behaviour.until(everything);

behaviour.fixed = true;
const letters = bus.deadLetters(MailRequested, { group: "mailer" });
const mine = async (group: string, of: typeof letters): Promise<void> => {
  for (const { id, reason } of (await of.list({ max: 1000 })).letters) {
    if (id?.startsWith(run)) behaviour.note(`dead letter of ${group}: ${id.slice(run.length + 1)}, ${reason}`);
  }
};
await mine("mailer", letters);
await mine("ledger", bus.deadLetters(PaymentMade, { group: "ledger" }));
await mine("fraud", bus.deadLetters(PaymentMade, { group: "fraud" }));

behaviour.forget("mailer", "mail-plus");
await letters.redrive({ filter: ({ id }) => id === `${run}-mail-plus` });
await behaviour.until(everything);

await Promise.all(instances.map((instance) => instance.drain()));
process.stdout.write(behaviour.report());
