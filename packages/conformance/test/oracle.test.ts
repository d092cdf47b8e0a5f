import assert from "node:assert/strict";
import { describe, expect, test } from "vitest";
import type { EventName, LedgerEvent } from "../src/ledger.ts";
import { account, verify } from "../src/oracle.ts";

let at = 0;

function event(name: EventName, id: string, more: Partial<LedgerEvent> = {}): LedgerEvent {
  const [, , key, n] = id.split(".");
  const group = name.startsWith("publish") ? {} : { group: "g" };
  const fields = { topic: "t", ...group, id, ...(key !== undefined && { key }), n: Number(n), ...more };
  return { event: name, process: "main", sequence: ++at, at, wall: at, ...fields };
}

const published = (...ids: string[]) => ids.flatMap((id) => [event("publish-intent", id), event("publish-ok", id)]);
const handled = (...ids: string[]) => ids.map((id) => event("effect", id));
const [a1, a2, a3, b1] = ["r.p.a.1", "r.p.a.2", "r.p.a.3", "r.p.b.1"] as const;

describe("the oracle", () => {
  test("accepts a clean history", () => {
    const result = account([...published(a1, a2, b1), ...handled(a1, b1, a2)], "t", "g");
    verify(result, { ordered: true }, () => "");
    assert.deepEqual([result.published, result.effects, result.duplicates], [3, 3, 0]);
  });

  test("sees what is lost, and not what is a dead letter or was dropped", () => {
    const history = [...published(a1, a2, a3, b1), ...handled(a1), event("dlq-seen", a2), event("dropped", b1)];
    const result = account(history, "t", "g");
    assert.deepEqual(result.lost, [a3]);
    expect(() => verify(result, {}, () => "tail")).toThrow(/1 lost: r\.p\.a\.3.*\ntail/s);
  });

  test("never deduplicates, and compares with the budget", () => {
    const result = account([...published(a1), ...handled(a1, a1, a1)], "t", "g");
    assert.equal(result.duplicates, 2);
    expect(() => verify(result, { duplicates: 1 }, () => "")).toThrow(/2 duplicates, budget 1/);
    verify(result, { duplicates: 2 }, () => "");
  });

  test("sees strangers and damage", () => {
    const history = [...published(a1), event("effect", a1, { corrupted: true }), ...handled(b1)];
    const result = account(history, "t", "g");
    assert.deepEqual(result.unexpected, [b1]);
    assert.deepEqual(result.corrupted, [a1]);
    expect(() => verify(result, {}, () => "")).toThrow(/1 unexpected.*1 corrupted/);
  });

  test("tells an unconfirmed message that arrived from one that was refused for certain", () => {
    const history = [
      event("publish-intent", a1),
      event("publish-unknown", a1),
      event("publish-intent", a2),
      event("publish-failed", a2),
      ...handled(a1, a2),
    ];
    const result = account(history, "t", "g");
    assert.deepEqual(result.recovered, [a1, a2]);
    assert.deepEqual(result.denied, [a2]);
    assert.deepEqual(result.lost, []);
  });

  test("sees first effects out of order per key, and tells repeats apart", () => {
    const swapped = account([...published(a1, a2, b1), ...handled(a2, b1, a1)], "t", "g");
    assert.deepEqual(swapped.reorder, [`${a1} after 2`]);
    const repeated = account([...published(a1, a2), ...handled(a1, a2, a1)], "t", "g");
    assert.deepEqual(repeated.reorder, []);
    assert.equal(repeated.reorderedRepeats, 1);
  });

  test("keeps groups and topics apart", () => {
    const history = [...published(a1), event("effect", a1, { group: "other" }), event("effect", a1, { topic: "else" })];
    assert.deepEqual(account(history, "t", "g").lost, [a1]);
    assert.deepEqual(account(history, "t", "other").lost, []);
  });

  test("fails on what is stuck at the broker", () => {
    const result = account([...published(a1), ...handled(a1)], "t", "g");
    expect(() => verify(result, { stuck: 3 }, () => "")).toThrow(/3 still at the broker/);
  });
});
