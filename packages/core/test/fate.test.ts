import { outcome, PermanentError, SluiceError, UnavailableError } from "@sluice/core";
import { expect, test } from "vitest";
import { decideFate, type FateInput } from "../src/consume/fate.ts";
import { retryPolicy, totalWait } from "../src/consume/retry-policy.ts";

const policy = retryPolicy({ attempts: 3, firstDelay: 100, factor: 10, maxDelay: "1m", inPlace: 500 }, false);

function fate(given: Partial<FateInput>) {
  return decideFate({
    result: { ok: true, value: undefined },
    failures: 0,
    policy,
    staysHere: false,
    mustMove: false,
    deadLetter: true,
    random: 0.999_999,
    ...given,
  });
}

const fails = (error: unknown): Partial<FateInput> => ({ result: { ok: false, error } });
const gives = (value: unknown): Partial<FateInput> => ({ result: { ok: true, value } });

test("what is returned", () => {
  expect(fate({})).toEqual({ kind: "done" });
  expect(fate(gives("anything else"))).toEqual({ kind: "done" });
  expect(fate(gives(outcome.drop("why")))).toMatchObject({ kind: "drop", reason: "why" });
  expect(fate(gives(outcome.deadLetter("why")))).toMatchObject({
    kind: "dead-letter",
    reason: "rejected",
    detail: "why",
  });
  expect(fate(gives(outcome.defer("1s", "why")))).toMatchObject({ kind: "defer", delayMs: 1000, inPlace: false });
  expect(fate(gives(outcome.retry({ delay: 5 })))).toMatchObject({ kind: "retry", delayMs: 5, inPlace: true });
});

test("a defer counts no attempt, a retry does", () => {
  const last = { failures: 2 };
  expect(fate({ ...last, ...gives(outcome.defer(5)) }).kind).toBe("defer");
  expect(fate({ ...last, ...gives(outcome.retry()) })).toMatchObject({ kind: "dead-letter", reason: "exhausted" });
});

test("what is thrown", () => {
  expect(fate(fails(new PermanentError("no")))).toMatchObject({
    kind: "dead-letter",
    reason: "permanent",
    detail: "no",
  });
  expect(fate(fails(new UnavailableError("down")))).toMatchObject({ kind: "hold" });
  expect(fate(fails(new SluiceError("INVALID_PAYLOAD", "bad")))).toMatchObject({ reason: "invalid", detail: "bad" });
  const unpublished = new SluiceError("INVALID_PAYLOAD", "bad", { outcome: "not-stored" });
  expect(fate(fails(unpublished))).toMatchObject({ kind: "retry" });
  for (const thrown of [new Error("x"), new TypeError("x"), "x", undefined, null, 0, Object.create(null)]) {
    expect(fate(fails(thrown))).toMatchObject({ kind: "retry", delayMs: 100, inPlace: true, error: thrown });
    expect(fate({ ...fails(thrown), failures: 2 })).toMatchObject({ kind: "dead-letter", reason: "exhausted" });
  }
});

test("where the next run happens", () => {
  const second = { ...fails(new Error("x")), failures: 1 };
  expect(fate(second)).toMatchObject({ delayMs: 1000, inPlace: false });
  expect(fate({ ...second, staysHere: true })).toMatchObject({ inPlace: true });
  expect(fate({ ...fails(new Error("x")), mustMove: true })).toMatchObject({ delayMs: 100, inPlace: false });
  // The run goes on: holding it here would run it twice at once.
  expect(fate({ ...fails(new UnavailableError("down")), mustMove: true })).toMatchObject({
    kind: "retry",
    inPlace: false,
  });
});

test("without a dead letter it is dropped, with the reason", () => {
  expect(fate({ ...fails(new PermanentError("no")), deadLetter: false })).toMatchObject({
    kind: "drop",
    reason: "permanent: no",
  });
});

test("waits are drawn from zero to the ceiling", () => {
  expect(fate({ ...fails(new Error("x")), random: 0 })).toMatchObject({ delayMs: 0 });
  expect(totalWait(policy)).toBe(1100);
  expect(() => retryPolicy({ attempts: 0 }, false)).toThrow(/retry.attempts is 0/);
});
