import assert from "node:assert/strict";
import { fork } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, test } from "vitest";
import { Journal, Ledger } from "../src/ledger.ts";
import { Supervisor } from "../src/supervisor.ts";

const harness = new URL("../../../integration/harnesses/memory.ts", import.meta.url).href;
const limits = { idleMs: 30_000, totalMs: 30_000 };

/** A journal in a folder of its own, removed at the end of the test. */
async function withJournal(run: (journal: Journal) => Promise<void> | void): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), "sluice-conformance-test-"));
  const journal = new Journal(directory);
  try {
    await run(journal);
  } finally {
    journal.close();
    rmSync(directory, { recursive: true, force: true });
  }
}

// A process takes its time to start: they start side by side.
describe.concurrent("the supervisor", { timeout: 60_000 }, () => {
  const plan = { topic: "t", group: "g", ordered: false, shards: 1, concurrency: 1, window: 1, attempts: 1 };
  const options = { ...plan, handlerMs: [0, 0], failOnce: 0 };

  async function start(journal: Journal, name: string) {
    const supervisor = new Supervisor(harness, "run", journal);
    const child = supervisor.start("consumer", name, options);
    const ready = () => journal.events.some((event) => event.event === "ready" && event.process === name);
    await journal.until(`${name} is ready`, limits, ready, child.output);
    return { supervisor, child };
  }

  test("kills a worker at once", () =>
    withJournal(async (journal) => {
      const { supervisor, child } = await start(journal, "killed");
      assert.deepEqual(await child.kill(), { code: null, signal: "SIGKILL" });
      await supervisor.close();
    }));

  test("freezes and thaws a worker, and stops it in order", () =>
    withJournal(async (journal) => {
      const { supervisor, child } = await start(journal, "frozen");
      child.freeze();
      const stopping = child.stop(5_000);
      child.thaw();
      assert.deepEqual(await stopping, { code: 0, signal: null });
      await supervisor.close();
    }));

  test("a child whose parent is gone ends by itself", () =>
    withJournal(async (journal) => {
      const child = fork(fileURLToPath(new URL("../src/child.ts", import.meta.url)), [], {
        execArgv: ["--conditions=@sluice/source"],
        stdio: "ignore",
      });
      const ledger = journal.path("orphan");
      child.send({ harness, worker: "consumer", ledger, process: "orphan", run: "run", options });
      journal.follow("orphan");
      await journal.until("the child is ready", limits, () => journal.events.some((event) => event.event === "ready"));
      const exited = once(child, "exit");
      child.disconnect(); // What a child sees when its parent dies.
      assert.deepEqual(await exited, [70, null]);
    }));
});

describe("the journal", () => {
  test("counts by name, topic and group, repeats included", () =>
    withJournal((journal) => {
      const ledger = journal.ledger();
      for (const id of ["a", "b", "a"]) ledger.write("effect", { topic: "t", group: "g", id });
      ledger.write("effect", { topic: "t", group: "other", id: "c" });
      assert.equal(journal.total("effect", "t", "g"), 3);
      assert.deepEqual(
        [...journal.ids("effect", "t", "g")],
        [
          ["a", 2],
          ["b", 1],
        ],
      );
    }));

  test("reads along what another process writes", () =>
    withJournal(async (journal) => {
      journal.follow("other");
      const other = new Ledger(journal.path("other"), "other", true);
      const waiting = journal.until("two effects", limits, () => journal.total("effect", "t", "g") === 2);
      other.write("effect", { topic: "t", group: "g", id: "a" });
      other.write("effect", { topic: "t", group: "g", id: "b" });
      await waiting;
      assert.deepEqual([...journal.ids("effect", "t", "g").keys()], ["a", "b"]);
      other.close();
    }));

  test("says what it waited for, and shows the last events", () =>
    withJournal(async (journal) => {
      journal.ledger().write("note", { detail: "the last thing that happened" });
      const waiting = journal.until(
        "a miracle",
        { idleMs: 20, totalMs: 1_000 },
        () => false,
        () => "none yet",
      );
      await assert.rejects(waiting, /a miracle: nothing happened for 20 ms\nnone yet\n.*the last thing that happened/s);
    }));
});
