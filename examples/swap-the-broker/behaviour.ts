// What an observer sees, without anything that depends on the broker: no times, no positions, no order across keys.
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { events, type SettledEvent } from "@sluice/core";
import type { Mail, Payment, World } from "./service.ts";

const groups: ReadonlySet<string> = new Set(["ledger", "fraud", "mailer", "audit"]);

export class Behaviour {
  readonly #run: string;
  readonly #lines: string[] = [];
  readonly #booked = new Map<string, string[]>();
  readonly #checked: string[] = [];
  readonly #shown: string[] = [];
  readonly #fates = new Map<string, string>();
  #expected = { fates: 0, shown: 0 };
  #complete: (() => void) | undefined;
  /** Whether the bug of the mailer is fixed. */
  fixed = false;

  /** `run` begins every message id, so that a broker may hold messages of earlier runs. */
  constructor(run: string) {
    this.#run = run;
    subscribe(events.settled.name, this.#settled);
  }

  world(): World {
    return {
      book: (payment, attempt) => {
        if (payment.amount === 13 && attempt === 1) throw new Error("the bank did not answer");
        push(this.#booked, payment.account, `${payment.amount}${attempt > 1 ? ` (attempt ${attempt})` : ""}`);
      },
      check: ({ account, amount }: Payment) => void this.#checked.push(`${account} ${amount}`),
      send: (mail: Mail) => {
        if (mail.to.includes("+") && !this.fixed) throw new TypeError("cannot write to an address with a plus");
        this.note(`mailer sent "${mail.text}" to ${mail.to}`);
      },
      audit: (mail: Mail) => this.note(`audit saw "${mail.text}"`),
      show: ({ account, amount }: Payment) => {
        this.#shown.push(`${account} ${amount}`);
        this.#look();
      },
    };
  }

  note(line: string): void {
    this.#lines.push(line);
  }

  /** Resolves when so many messages of this run have a fate in their groups, and the dashboards showed so many. */
  async until(expected: { readonly fates: number; readonly shown: number }): Promise<void> {
    this.#expected = expected;
    await new Promise<void>((resolve) => {
      this.#complete = resolve;
      this.#look();
    });
  }

  /** The fate of a message was undone: it was put back. */
  forget(group: string, id: string): void {
    this.#fates.delete(`${group} ${id}`);
  }

  /** Everything that was seen, in an order of its own. */
  report(): string {
    unsubscribe(events.settled.name, this.#settled);
    const booked = [...this.#booked].map(([account, amounts]) => `ledger booked ${account}: ${amounts.join(", ")}`);
    const fates = [...this.#fates].map(([id, fate]) => `fate of ${id}: ${fate}`);
    const counted = [`fraud checked ${counts(this.#checked)}`, `dashboards showed ${counts(this.#shown)}`];
    return `${[...booked, ...counted, ...this.#lines, ...fates].toSorted().join("\n")}\n`;
  }

  readonly #settled = (event: unknown): void => {
    // A channel does not know the type of its events; the name does.
    const { group, id, fate, reason } = event as SettledEvent;
    // n.b. what a filter leaves out is settled as "filtered", and on some brokers not even delivered.
    if (!id.startsWith(this.#run) || (fate !== "done" && fate !== "drop" && fate !== "dead-letter")) return;
    // Broadcasts have no fate to speak of; forwarders of delayed messages are no groups of ours.
    if (!groups.has(group)) return;
    const name = id.slice(this.#run.length + 1);
    this.#fates.set(`${group} ${name}`, reason === undefined ? fate : `${fate}, ${reason}`);
    this.#look();
  };

  #look(): void {
    const { fates, shown } = this.#expected;
    if (this.#fates.size >= fates && this.#shown.length >= shown) this.#complete?.();
  }
}

function push(lists: Map<string, string[]>, name: string, text: string): void {
  lists.set(name, [...(lists.get(name) ?? []), text]);
}

function counts(items: readonly string[]): string {
  const each = new Map<string, number>();
  for (const item of items) each.set(item, (each.get(item) ?? 0) + 1);
  return [...each]
    .toSorted(([one], [other]) => (one < other ? -1 : 1))
    .map(([item, count]) => `${item} ×${count}`)
    .join(", ");
}
