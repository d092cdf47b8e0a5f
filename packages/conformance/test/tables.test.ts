import assert from "node:assert/strict";
import { describe, test } from "vitest";
import type { CaseResult } from "../src/case.ts";
import type { Report } from "../src/report.ts";
import { capabilityTable, guaranteeTable } from "../src/tables.ts";

function result(id: string, more: Partial<CaseResult> = {}): CaseResult {
  const text = { id, title: id, rule: id, required: true };
  return { ...text, status: "pass", tested: "declared", durationMs: 1, metrics: {}, ...more };
}

function report(cases: readonly CaseResult[], more: Partial<Report> = {}): Report {
  const capabilities = { group: "native", persistent: true, delay: { group: "emulated", topic: "absent" } };
  const fields = { broker: "kafka", version: "4.3.1", environment: "broker", provider: "native", capabilities, cases };
  return { startedAt: "2026-11-21T16:00:00.000Z", ...fields, ...more } as Report;
}

/** The cells of the row that begins with a text. */
function row(table: string, first: string): string[] {
  const line = table.split("\n").find((text) => text.startsWith(`| ${first} |`)) ?? "";
  return line
    .split("|")
    .slice(1, -1)
    .map((cell) => cell.trim());
}

describe("the tables", () => {
  test("show every capability, nested ones too, and what it is proven by", () => {
    const table = capabilityTable([report([result("DL-01"), result("DL-02", { status: "fail" })])]);
    assert.deepEqual(row(table, "`delay.topic`"), ["`delay.topic`", "absent"]);
    assert.deepEqual(row(table, "`persistent`"), ["`persistent`", "yes"]);
    assert.deepEqual(row(table, "proven by"), ["proven by", "1 of 2 cases, broker (native), 2026-11-21"]);
  });

  test("put the profiles of one broker into one column, and versions apart", () => {
    const skip = result("G-01", { status: "skip", skip: "profile" });
    const reports = [report([skip]), report([result("G-01")]), report([skip], { version: "3.9.2" })];
    const table = guaranteeTable(reports);
    assert.match(table, /\| kafka 3\.9\.2 \| kafka 4\.3\.1 \|/);
    assert.deepEqual(row(table, "Nothing lost when consumers are killed").slice(2), ["not run", "yes"]);
  });

  test("name what fails, what was refused, and why something was not shown", () => {
    const cases = [
      result("G-01", { status: "fail" }),
      result("RP-05", { tested: "refusal" }),
      result("SK-01", { tested: "refusal" }),
      result("PL-07", { status: "skip", skip: "environment", reason: "no raw client" }),
      result("GR-01"),
    ];
    const table = guaranteeTable([report(cases)]);
    assert.equal(row(table, "Nothing lost when consumers are killed")[2], "**fails** (G-01)");
    assert.equal(row(table, "Sending to nobody is an error")[2], "kept for groups to come");
    assert.equal(row(table, "A group goes back to a time")[2], "refused at the call");
    assert.equal(row(table, "Poison bytes never stop a consumer")[2], "not shown: no raw client");
    assert.equal(row(table, "Every group gets everything; members share")[2], "yes (GR-01)");
  });
});
