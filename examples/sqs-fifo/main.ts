// Bookings in order per account on a FIFO queue: a booking that fails holds its account, and nobody else.
import { randomUUID } from "node:crypto";
import { connect, type Driver, topic } from "@sluice/core";
import { memory } from "@sluice/memory";
import { sqsSns } from "@sluice/sqs-sns";

interface Booking {
  readonly account: string;
  readonly amount: number;
}

// A key makes the SNS topic and the queue of each group FIFO: the key is the message group.
const Bookings = topic<Booking>("bookings", { key: ({ account }) => account, groups: ["ledger"] });

/** SQS and SNS when AWS_REGION is set (AWS_ENDPOINT_URL leads to a stand-in); otherwise a broker inside this process. */
function chooseDriver(): Driver {
  const { AWS_REGION } = process.env;
  return AWS_REGION ? sqsSns({ region: AWS_REGION, prefix: "example-" }) : memory();
}

const run = randomUUID().slice(0, 8);
const book = new Map<string, number[]>();

const bus = await connect(chooseDriver());
const retry = { attempts: 3, firstDelay: "100ms" } as const;
await bus.subscribe(Bookings, { group: "ledger", retry }, ({ account, amount }, { message }) => {
  // The second booking of ada works at the second attempt, that of ben never.
  if (account === `${run}-ada` && amount === 20 && message.attempt === 1) throw new Error("the ledger is locked");
  if (account === `${run}-ben` && amount === 20) throw new Error("the account is closed");
  book.set(account, [...(book.get(account) ?? []), amount]);
});

const accounts = ["ada", "ben", "cleo"];
const amounts = [10, 20, 30];
const settled = accounts.map((name) => bus.settled(Bookings, { group: "ledger", id: `${run}-${name}-30` }));
for (const amount of amounts) {
  // Different accounts at once; those of one account go out one after another.
  await Promise.all(
    accounts.map((name) =>
      bus.publish(Bookings, { account: `${run}-${name}`, amount }, { id: `${run}-${name}-${amount}` }),
    ),
  );
}
await Promise.all(settled);
for (const name of accounts) console.log(`${name}: ${book.get(`${run}-${name}`)?.join(", ")}`);

const ledgerLetters = bus.deadLetters(Bookings, { group: "ledger" });
for (const letter of (await ledgerLetters.list()).letters.filter(({ id }) => id?.startsWith(run))) {
  console.log(
    `given up after ${letter.attempts} attempts: ${letter.id?.slice(run.length + 1)}, ${letter.errorMessage}`,
  );
}
await bus.drain();
