// What needs no database; the rest is in inbox.slow.test.ts.
import { connect, type Handler, topic } from "@sluice/core";
import { memory } from "@sluice/memory";
import { expect, test, vi } from "vitest";
import { inbox, type InboxOptions, type SqlQueries, type Transactions } from "../src/index.ts";

const Orders = topic<number>("orders", { groups: ["billing", "mail"] });

/** Keeps marks as the table would, and commits them. */
function marks() {
  const kept = new Set<unknown>();
  const database: Transactions<SqlQueries> = {
    async transaction(work) {
      const fresh = new Set<unknown>();
      const query = async (text: string, [key]: unknown[] = []) => {
        if (!text.startsWith("WITH turn")) return { rows: [] };
        const row = { mine: true, fresh: !kept.has(key) };
        fresh.add(key);
        return { rows: [row] };
      };
      const result = await work({ query });
      for (const key of fresh) kept.add(key);
      return result;
    },
  };
  return { kept, database };
}

async function handled(options: InboxOptions) {
  const { kept, database } = marks();
  const bus = await connect(memory());
  const handler = vi.fn<Handler<number>>();
  for (const group of ["billing", "mail"]) {
    await bus.subscribe(Orders, { group, retry: { attempts: 2, firstDelay: 1 } }, inbox(database, handler, options));
  }
  for (const id of ["a", "b"]) {
    const both = ["billing", "mail"].map((group) => bus.settled(Orders, { group }));
    await bus.publish(Orders, 1, { id });
    await Promise.all(both);
  }
  const { letters } = await bus.deadLetters(Orders, { group: "mail" }).list();
  await bus.close();
  const groups = handler.mock.calls.map(([, context]) => context.group);
  return { kept: [...kept].map(String).toSorted(), groups: groups.toSorted(), letters };
}

test("marks are those of a group", async () => {
  const { kept, groups } = await handled({});
  expect(kept).toEqual(["billing/orders/a", "billing/orders/b", "mail/orders/a", "mail/orders/b"]);
  expect(groups).toEqual(["billing", "billing", "mail", "mail"]);
});

test("so are those of a key of one's own", async () => {
  const { kept, groups } = await handled({ key: () => "42" });
  expect(kept).toEqual(["billing/42", "mail/42"]);
  expect(groups).toEqual(["billing", "mail"]);
});

test("what is no key is tried again, then a dead letter", async () => {
  const { kept, groups, letters } = await handled({ key: ({ message }) => message.headers["order"] as string });
  expect([kept, groups]).toEqual([[], []]);
  expect(letters).toHaveLength(2);
  expect(letters[0]).toMatchObject({ reason: "exhausted", attempts: 2 });
  expect(letters[0]?.errorMessage).toContain(
    'inbox: option key gave a value that is undefined for message a of topic "orders"',
  );
});
