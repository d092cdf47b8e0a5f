// The account: every message that the broker confirmed must be found again, in every group, by its id.
import type { Bus, Counters, DeadLetter, DeadLetters, Subscription } from "@sluice/core";
import { add, type GroupPage, type Ledger } from "./ledger.ts";
import { OrderPlaced, OrderShipped } from "./service.ts";

type Counts = Readonly<Record<string, number>>;

export interface GroupAccount {
  readonly group: string;
  readonly topic: string;
  /** Messages that the broker confirmed to their publisher. */
  readonly published: number;
  /** Messages that the group's partner served, each counted once. */
  readonly handled: number;
  readonly retried: { readonly inPlace: number; readonly ownEntry: number };
  readonly deferred: number;
  readonly dropped: Counts;
  /** Dead letters written, by reason; redriven ones included. */
  readonly deadLettered: Counts;
  readonly redriven: number;
  /** Dead letters read from the broker at the end, by reason. */
  readonly deadLetters: Counts;
  /** Served once more than needed, or with a second fate. */
  readonly duplicates: number;
  /** Served after a later message of the same customer. */
  readonly outOfOrder: number;
  /** Confirmed, and neither served nor dropped nor a dead letter. */
  readonly lost: number;
  readonly lostIds: readonly string[];
}

export interface Account {
  readonly broker: string;
  readonly server: string;
  readonly run: string;
  readonly seconds: number;
  /** Until everything had a fate, before the redrive. */
  readonly pace: Pace;
  /** The signal that ended the run early. */
  readonly stoppedBy: string | null;
  readonly orders: { readonly read: number; readonly published: number; readonly refused: Counts };
  readonly groups: readonly GroupAccount[];
  readonly broadcast: { readonly name: string; readonly seen: number };
  readonly duplicates: number;
  readonly lost: number;
  /** Every sum that does not add up; empty is good. */
  readonly problems: readonly string[];
}

export interface Pace {
  /** Messages that found their fate in a group, per second. */
  readonly perSecond: number;
  /** Milliseconds from publishing an order to the first work of `billing` on it: half of them less, 99 of 100 less. */
  readonly p50: number;
  readonly p99: number;
}

export type Heading = Pick<Account, "server" | "seconds" | "pace" | "stoppedBy">;

/** `seconds`: since the first order could be published. */
export function paceOf(ledger: Ledger, seconds: number): Pace {
  const waits = ledger.waits.toSorted((one, other) => one - other);
  const at = (share: number) => Math.round((waits[Math.floor(share * (waits.length - 1))] ?? 0) * 10) / 10;
  return { perSecond: Math.round(ledger.fates / seconds), p50: at(0.5), p99: at(0.99) };
}

export function deadLettersOf(bus: Bus, { group, topic }: GroupPage): DeadLetters {
  return bus.deadLetters(topic === OrderPlaced.name ? OrderPlaced : OrderShipped, { group });
}

/** Reads the dead letters from the broker; the subscriptions must have drained. */
export async function takeAccount(
  bus: Bus,
  ledger: Ledger,
  subscriptions: readonly Subscription[],
  heading: Heading,
): Promise<Omit<Account, "broker">> {
  const problems: string[] = [];
  const groups: GroupAccount[] = [];
  for (const page of ledger.pages) {
    const letters = await readAll(deadLettersOf(bus, page), page, problems);
    const mine = letters.filter(({ id }) => id?.startsWith(ledger.run));
    const counters = subscriptions.map((each) => each.health()).find(({ name }) => name === page.group)?.counters;
    groups.push(groupAccount(page, ledger, mine, counters, problems));
  }
  const orders = {
    read: ledger.read,
    published: confirmedOf(ledger, OrderPlaced.name).size,
    refused: object(ledger.refused),
  };
  check(problems, "orders: read = published + refused", orders.read, orders.published + total(orders.refused));
  return {
    ...heading,
    run: ledger.run,
    orders,
    groups,
    broadcast: { name: "dashboard", seen: ledger.seen },
    duplicates: sum(groups, ({ duplicates }) => duplicates),
    lost: sum(groups, ({ lost }) => lost),
    problems,
  };
}

async function readAll(deadLetters: DeadLetters, { group }: GroupPage, problems: string[]): Promise<DeadLetter[]> {
  const all: DeadLetter[] = [];
  let after: string | undefined;
  do {
    const page = await deadLetters.list(after === undefined ? {} : { after });
    all.push(...page.letters);
    after = page.next;
  } while (after !== undefined);
  const count = await deadLetters.count();
  if (count !== undefined) check(problems, `${group}: dead letters listed = counted by the broker`, all.length, count);
  return all;
}

function groupAccount(
  page: GroupPage,
  ledger: Ledger,
  letters: readonly DeadLetter[],
  counters: Readonly<Counters> | undefined,
  problems: string[],
): GroupAccount {
  const { group, topic, redriven } = page;
  const confirmed = confirmedOf(ledger, topic);
  const published = (ids: Iterable<string | undefined>) =>
    [...ids].filter((id) => id !== undefined && confirmed.has(id));
  const handled = published(page.effects.keys());
  const dropped = published(page.dropped.keys());
  const left = published(letters.map(({ id }) => id));
  const dead = new Set(left);
  const found = new Set([...handled, ...dropped, ...dead]);
  const lostIds = [...confirmed].filter((id) => !found.has(id));
  const strangers = [...page.effects.keys(), ...letters.map(({ id }) => id ?? "")].filter(
    (id) => !confirmed.has(id) && !ledger.unknown.has(id),
  );
  const again = sum([...page.effects.values()], (times) => times - 1);
  const twice = handled.length + dropped.length + left.length - found.size;
  check(problems, `${group}: messages that nobody published`, strangers.length, 0);
  check(problems, `${group}: lost`, lostIds.length, 0);
  check(problems, `${group}: published = handled, dropped or dead letter`, confirmed.size, found.size);
  const gone = [...page.deadIds].filter((id) => !redriven.has(id) && !dead.has(id));
  check(problems, `${group}: dead letters neither redriven nor left`, gone.length, 0);
  return {
    group,
    topic,
    published: confirmed.size,
    handled: handled.length,
    retried: { inPlace: (counters?.retried ?? 0) - page.ownEntry, ownEntry: page.ownEntry },
    deferred: counters?.deferred ?? 0,
    dropped: countBy(page.dropped.values()),
    deadLettered: object(page.deadLettered),
    redriven: redriven.size,
    deadLetters: countBy(letters.map(({ reason }) => reason)),
    duplicates: again + twice,
    outOfOrder: page.outOfOrder,
    lost: lostIds.length,
    lostIds: lostIds.slice(0, 20),
  };
}

function check(problems: string[], what: string, found: number, expected: number): void {
  if (found !== expected) problems.push(`${what}: ${found} is not ${expected}`);
}

function confirmedOf(ledger: Ledger, topic: string): ReadonlySet<string> {
  return ledger.confirmed.get(topic) ?? new Set();
}

function countBy(names: Iterable<string>): Counts {
  const counts = new Map<string, number>();
  for (const name of names) add(counts, name);
  return object(counts);
}

function object(counts: ReadonlyMap<string, number>): Counts {
  return Object.fromEntries([...counts].toSorted(([one], [other]) => (one < other ? -1 : 1)));
}

export function total(counts: Counts): number {
  return sum(Object.values(counts), Number);
}

function sum<Item>(items: readonly Item[], value: (item: Item) => number): number {
  return items.reduce((all, item) => all + value(item), 0);
}
