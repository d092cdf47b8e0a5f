import assert from "node:assert/strict";
import type { IdempotencyStore } from "./store.ts";

/** A store under test. */
export interface StoreHarness {
  readonly store: IdempotencyStore;
  /** Lets the store's clock go on by so many milliseconds. */
  readonly wait: (ms: number) => Promise<unknown>;
  /** A key that nobody has used before, of at most 100 characters. */
  readonly newKey: () => string;
}

/** Something that every store must do. */
export interface StoreCase {
  readonly name: string;
  /** Rejects with an AssertionError where the store does not. */
  readonly run: (harness: StoreHarness) => Promise<void>;
}

const long = 60_000;
const short = 40;
const acquired = { state: "acquired" } as const;
const completed = { state: "completed" } as const;

/** Waits as long as the store says that the key is locked, and then has it. */
async function take({ store, wait }: StoreHarness, key: string, owner: string, lockMs: number): Promise<void> {
  for (;;) {
    const answer = await store.acquire(key, owner, lockMs);
    if (answer.state === "acquired") return;
    assert.equal(answer.state, "locked");
    await wait(answer.forMs + 1);
  }
}

/** Waits until the record of a completed key has expired. */
async function outlive({ store, wait }: StoreHarness, key: string, owner: string): Promise<void> {
  while ((await store.acquire(key, owner, long)).state === "completed") await wait(short);
}

const names = ['o\'clock "x"; DROP TABLE sluice_idempotency; --', "a\\b%_{c}[d]", "π/😀 x", "k".repeat(512)];

/** What every store owes, without a test runner: `for (const { name, run } of storeCases) test(name, () => run({ store, wait }))`. */
export const storeCases: readonly StoreCase[] = [
  {
    name: "one owner at a time, for as long as the lock says",
    async run({ store, newKey }) {
      const key = newKey();
      assert.deepEqual(await store.acquire(key, "a", long), acquired);
      const other = await store.acquire(key, "b", long);
      assert.ok(other.state === "locked" && other.forMs > 0 && other.forMs <= long, JSON.stringify(other));
      assert.deepEqual(await store.acquire(newKey(), "b", long), acquired);
    },
  },
  {
    name: "the owner may ask again, as after a lost answer",
    async run({ store, newKey }) {
      const key = newKey();
      assert.deepEqual(await store.acquire(key, "a", long), acquired);
      assert.deepEqual(await store.acquire(key, "a", long), acquired);
    },
  },
  {
    name: "of many at once one gets the lock",
    async run({ store, newKey }) {
      const key = newKey();
      const owners = Array.from({ length: 20 }, (_, n) => `owner-${n}`);
      const answers = await Promise.all(owners.map((owner) => store.acquire(key, owner, long)));
      assert.equal(answers.filter(({ state }) => state === "acquired").length, 1);
      assert.equal(answers.filter(({ state }) => state === "locked").length, 19);
    },
  },
  {
    name: "a completed key is completed for everybody",
    async run({ store, newKey }) {
      const key = newKey();
      await store.acquire(key, "a", long);
      assert.equal(await store.complete(key, "a", long), true);
      assert.deepEqual(await store.acquire(key, "a", long), completed);
      assert.deepEqual(await store.acquire(key, "b", long), completed);
      await store.release(key, "a");
      assert.equal(await store.renew(key, "a", 1), false);
      assert.deepEqual(await store.acquire(key, "b", long), completed);
    },
  },
  {
    name: "only the owner completes, renews and releases",
    async run({ store, newKey }) {
      const key = newKey();
      assert.equal(await store.complete(key, "a", long), false);
      assert.equal(await store.renew(key, "a", long), false);
      await store.release(key, "a");
      await store.acquire(key, "a", long);
      assert.equal(await store.complete(key, "b", long), false);
      assert.equal(await store.renew(key, "b", long), false);
      await store.release(key, "b");
      assert.equal((await store.acquire(key, "b", long)).state, "locked");
      await store.release(key, "a");
      assert.deepEqual(await store.acquire(key, "b", long), acquired);
    },
  },
  {
    name: "a renewed lock lives on",
    async run({ store, wait, newKey }) {
      const key = newKey();
      await store.acquire(key, "a", 500);
      assert.equal(await store.renew(key, "a", long), true);
      const other = await store.acquire(key, "b", long);
      assert.ok(other.state === "locked" && other.forMs > 500, JSON.stringify(other));
      await wait(501);
      assert.equal((await store.acquire(key, "b", long)).state, "locked");
      assert.equal(await store.complete(key, "a", long), true);
    },
  },
  {
    name: "an expired lock is the next one's, and the late owner can do nothing to it",
    async run(harness) {
      const { store, newKey } = harness;
      const key = newKey();
      await store.acquire(key, "a", short);
      await take(harness, key, "b", long);
      assert.equal(await store.renew(key, "a", long), false);
      assert.equal(await store.complete(key, "a", long), false);
      await store.release(key, "a");
      assert.equal((await store.acquire(key, "c", long)).state, "locked");
      assert.equal(await store.complete(key, "b", long), true);
    },
  },
  {
    name: "an expired lock that nobody took is gone all the same",
    async run(harness) {
      const { store, newKey } = harness;
      const key = newKey();
      await store.acquire(key, "a", short);
      // Another key that is locked later, and is free: so is the first.
      const later = newKey();
      await store.acquire(later, "a", short);
      await take(harness, later, "b", long);
      assert.equal(await store.renew(key, "a", long), false);
      assert.equal(await store.complete(key, "a", long), false);
      assert.deepEqual(await store.acquire(key, "b", long), acquired);
    },
  },
  {
    name: "a completed key is forgotten after its time; one of many gets it then",
    async run(harness) {
      const { store, newKey } = harness;
      const key = newKey();
      const later = newKey();
      await store.acquire(key, "a", long);
      await store.acquire(later, "a", long);
      assert.equal(await store.complete(key, "a", short), true);
      assert.equal(await store.complete(later, "a", short), true);
      await outlive(harness, later, "b");
      const owners = Array.from({ length: 20 }, (_, n) => `owner-${n}`);
      const answers = await Promise.all(owners.map((owner) => store.acquire(key, owner, long)));
      assert.equal(answers.filter(({ state }) => state === "acquired").length, 1);
      assert.equal(answers.filter(({ state }) => state === "locked").length, 19);
    },
  },
  {
    name: "keys and owners of any letters",
    async run({ store, newKey }) {
      for (const name of names) {
        const key = `${newKey()}${name}`.slice(0, 512);
        assert.deepEqual(await store.acquire(key, name, long), acquired);
        assert.equal((await store.acquire(key, "b", long)).state, "locked");
        assert.equal(await store.renew(key, name, long), true);
        assert.equal(await store.complete(key, name, long), true);
        assert.deepEqual(await store.acquire(key, "b", long), completed);
      }
    },
  },
  {
    name: "fractions of milliseconds, and more of them than 32 bits hold",
    async run({ store, newKey }) {
      const key = newKey();
      assert.deepEqual(await store.acquire(key, "a", 3e9 + 0.5), acquired);
      const other = await store.acquire(key, "b", 1.5);
      assert.ok(other.state === "locked" && other.forMs > 2 ** 31, JSON.stringify(other));
      assert.equal(await store.complete(key, "a", 3e9 + 0.5), true);
    },
  },
];
