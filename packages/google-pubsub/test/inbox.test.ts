import type { Delivery } from "@sluice/core/driver";
import { expect, test } from "vitest";
import { Inbox, leavesAt, waitingRetentionMs } from "../src/inbox.ts";

const named = (id: string) => ({ id }) as Delivery; // Only the identity matters.

test("first come, first served", () => {
  const inbox = new Inbox();
  for (const id of ["a", "b", "c"]) inbox.push(named(id));
  expect([inbox.shift(0), inbox.shift(0), inbox.shift(0), inbox.shift(0)].map((each) => each?.id)).toEqual([
    "a",
    "b",
    "c",
    undefined,
  ]);
});

test("with due times the first due is first, and none before its time", () => {
  const inbox = new Inbox();
  inbox.push(named("late"), 300);
  inbox.push(named("soon"), 100);
  inbox.push(named("soon too"), 100);
  expect(inbox.shift(99)).toBeUndefined();
  expect(inbox.nextMs(40)).toBe(60);
  expect([inbox.shift(100), inbox.shift(100), inbox.shift(100)].map((each) => each?.id)).toEqual([
    "soon",
    "soon too",
    undefined,
  ]);
  expect(inbox.drain().map(({ id }) => id)).toEqual(["late"]);
});

test("what waits longer than the broker keeps it waits on as a copy", () => {
  expect(leavesAt(5_000, 1_000)).toBe(5_000);
  expect(leavesAt(Number.MAX_SAFE_INTEGER, 1_000)).toBe(1_000 + waitingRetentionMs / 2);
});
