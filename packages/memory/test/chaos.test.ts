import { describe, expect, test } from "vitest";
import type { Delivery } from "@sluice/core/driver";
import { bench, billing, calm, declared, item } from "./support/bench.ts";
import type { Bench, Reader } from "./support/bench.ts";

const keys = 12;
const perKey = 20;

interface Member {
  readonly name: string;
  readonly reader: Reader;
  held: readonly Delivery[];
}

/** Members that join, read, settle, release, go silent, leave and are cut off, as a seed decides. */
class Chaos {
  readonly #bench: Bench;
  readonly #ordered: boolean;
  readonly #members: Member[] = [];
  #joined = 0;
  readonly accepted: string[] = [];
  /** What must never be: a window overrun, or a key with two holders. */
  readonly wrong: string[] = [];

  constructor(made: Bench, ordered: boolean) {
    this.#bench = made;
    this.#ordered = ordered;
  }

  async step(): Promise<void> {
    const random = () => this.#bench.clock.runtime.random();
    const member = this.#members[Math.floor(random() * this.#members.length)];
    const dice = random();
    if (member === undefined || dice < 0.05) await this.#join();
    else if (dice < 0.5) await this.#read(member);
    else if (dice < 0.8) await this.#settle(member, random);
    else if (dice < 0.85) await this.#bench.clock.advance(random() * 1_500);
    else if (dice < 0.9) await this.#leave(member);
    else if (dice < 0.93) this.#bench.broker.disconnect(member.name);
    else await member.reader.receiver.extend?.(member.held, 1_000);
    await this.#bench.clock.settle();
    this.#check();
  }

  #check(): void {
    const holders = new Map<unknown, string>();
    for (const { name, held, reader } of this.#members) {
      const live = held.filter((each) => !reader.lostDeliveries.has(each));
      if (live.length > 7) this.wrong.push(`${name} holds ${live.length}`);
      for (const { key } of live) {
        const other = holders.get(key) ?? name;
        if (this.#ordered && other !== name) this.wrong.push(`${String(key)} is held by ${name} and ${other}`);
        holders.set(key, name);
      }
    }
  }

  async #join(): Promise<void> {
    if (this.#members.length > 4) return;
    const name = `member-${++this.#joined}`;
    const options = { ordered: this.#ordered, window: 7 };
    const reader = await this.#bench.read(billing, options, await this.#bench.connect(name));
    const member: Member = { name, reader, held: [] };
    this.#members.push(member);
    void reader.receiver.closed.then(() => this.#members.splice(this.#members.indexOf(member), 1));
  }

  async #read(member: Member): Promise<void> {
    const received = await member.reader.poll(5);
    member.held = [...member.held, ...received].filter((each) => !member.reader.lostDeliveries.has(each));
  }

  /** Per key from the front, as core does: later records of a key are not settled before earlier ones. */
  async #settle(member: Member, random: () => number): Promise<void> {
    const count = Math.ceil(random() * member.held.length);
    const now = member.held.slice(0, count);
    member.held = member.held.slice(count);
    if (random() < 0.3) {
      // A release takes the later ones of its keys along, and so does everything that is held.
      await member.reader.release(random() < 0.5 ? "failed" : "returned", ...now, ...member.held);
      member.held = [];
      return;
    }
    const results = await member.reader.accept(...now);
    for (const [index, { id = "" }] of now.entries()) if (results[index] === "durable") this.accepted.push(id);
  }

  async #leave(member: Member): Promise<void> {
    await member.reader.receiver.stop(calm);
    await member.reader.receiver.close(calm);
  }

  /** One reliable reader takes what is left. */
  async finish(): Promise<void> {
    this.#bench.broker.disconnect();
    await this.#bench.clock.settle();
    const last = await this.#bench.read(billing, { ordered: this.#ordered }, await this.#bench.connect());
    for (let rest = await last.poll(); rest.length > 0; rest = await last.poll()) {
      await last.accept(...rest);
      this.accepted.push(...rest.map(({ id = "" }) => id));
    }
  }
}

async function run(seed: number, ordered: boolean): Promise<{ accepted: string[]; wrong: string[]; left: number }> {
  const made = await bench([declared("orders", { ordered, shards: 4 })], { leaseMs: 1_000 }, seed);
  const items = Array.from({ length: keys * perKey }, (_, index) => {
    const key = `k${index % keys}`;
    return item(`${key}/${Math.floor(index / keys)}`, { key });
  });
  await made.send(...items);
  const chaos = new Chaos(made, ordered);
  for (let step = 0; step < 150; step++) await chaos.step();
  await chaos.finish();
  const { ready, inFlight } = made.broker.depth("orders", "billing");
  return { accepted: chaos.accepted, wrong: chaos.wrong, left: ready + inFlight };
}

describe("members that come, go, fall silent and are cut off", () => {
  const seeds = Array.from({ length: 12 }, (_, index) => index + 1);

  test.each(seeds)("unordered, seed %i: each record is accepted exactly once", async (seed) => {
    const { accepted, wrong, left } = await run(seed, false);
    expect({ accepted: accepted.length, different: new Set(accepted).size, left, wrong }).toEqual({
      accepted: keys * perKey,
      different: keys * perKey,
      left: 0,
      wrong: [],
    });
  });

  test.each(seeds)("ordered, seed %i: each key is accepted in order, exactly once", async (seed) => {
    const { accepted, wrong, left } = await run(seed, true);
    expect({ left, wrong }).toEqual({ left: 0, wrong: [] });
    for (let key = 0; key < keys; key++) {
      const own = accepted.filter((id) => id.startsWith(`k${key}/`));
      expect(own).toEqual(Array.from({ length: perKey }, (_, index) => `k${key}/${index}`));
    }
  });

  test("the same seed gives the same run", async () => {
    expect(await run(3, true)).toEqual(await run(3, true));
  });
});
