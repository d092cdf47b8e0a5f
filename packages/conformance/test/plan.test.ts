import assert from "node:assert/strict";
import { describe, test } from "vitest";
import type { Case, Facts, Profile } from "../src/case.ts";
import { type Harness, loadHarness } from "../src/harness.ts";
import { decide } from "../src/plan.ts";

const facts = { capabilities: { priority: "absent" }, lease: undefined } as Facts;

const base: Case = {
  id: "X-1",
  title: "a case",
  rule: "something holds",
  required: true,
  profile: "standard",
  run: async () => {},
};

const priority = { what: "priority", holds: ({ capabilities }: Facts) => capabilities.priority !== "absent" };
const memory = await loadHarness(new URL("../../../integration/harnesses/memory.ts", import.meta.url));

/** What is decided, without the functions. */
function decided(stated: Partial<Case>, harness: Partial<Harness> = {}, profile: Profile = "standard") {
  const { run: _, ...decision } = {
    run: undefined,
    ...decide({ ...base, ...stated }, { ...memory, ...harness }, facts, profile),
  };
  return decision;
}

const runs = { kind: "run", tested: "declared", waiver: undefined };

describe("which cases run", () => {
  test("smoke is part of standard; fault is a profile of its own", () => {
    assert.deepEqual(decided({ profile: "smoke" }, {}, "smoke"), runs);
    assert.deepEqual(decided({ profile: "smoke" }, {}, "standard"), runs);
    assert.deepEqual(decided({ profile: "fault" }, {}, "fault"), runs);
    const skip = { kind: "skip", skip: "profile" };
    assert.deepEqual(decided({}, {}, "smoke"), { ...skip, reason: "belongs to the standard profile" });
    assert.deepEqual(decided({}, {}, "fault"), { ...skip, reason: "belongs to the standard profile" });
    assert.deepEqual(decided({ profile: "fault" }), { ...skip, reason: "belongs to the fault profile" });
  });

  test("an absent capability is tested by its refusal, or skipped where nothing can be refused", () => {
    const inverse = async () => {};
    assert.deepEqual(decided({ needs: priority, inverse }), { ...runs, tested: "refusal" });
    assert.deepEqual(decided({ needs: priority }), { kind: "skip", skip: "capability", reason: "needs priority" });
  });

  test("an environment skip states its reason", () => {
    const skips = { environmentSkips: { "X-1": "the emulator has none" } };
    const wanted = { kind: "skip", skip: "environment", reason: "the emulator has none" };
    assert.deepEqual(decided({}, skips), wanted);
  });

  test("missing control or upstream is invalid, not green", () => {
    const { control: _, ...without } = memory;
    assert.equal(decide({ ...base, uses: ["control"] }, without, facts, "standard").kind, "invalid");
    assert.equal(decided({ uses: ["proxy"] }).kind, "invalid");
  });

  test("a waiver runs the case until it expires", () => {
    const waiver = (expires: string) => ({ waivers: { "X-1": { issue: "issue 12", expires } } });
    assert.deepEqual(decided({}, waiver("2999-01-01")), { ...runs, waiver: "issue 12" });
    assert.deepEqual(decided({}, waiver("2020-01-01")), runs);
  });
});

test("a module without a harness is refused by name", async () => {
  const module = new URL("../src/clock.ts", import.meta.url);
  await assert.rejects(loadHarness(module), /clock\.ts has no harness as its default export/);
});
