/** The catalogue as vitest tests: one line in an adapter's test file. */
import { afterAll, beforeAll, describe, test, vi } from "vitest";
import { catalogue } from "./cases/index.ts";
import { openSession, type Session, type SessionOptions } from "./session.ts";

export interface ConformanceOptions extends Partial<SessionOptions> {
  /** Title of the tests. @default 'conformance' */
  readonly title?: string;
  /** Only these ids. @default all of the profile */
  readonly cases?: readonly string[];
  /** Why the broker cannot be had: every case is then skipped for this reason. */
  readonly unavailable?: string;
}

/**
 * Registers every case for the harness at this module path. Cases of the other profiles are not registered.
 *
 * @example
 * conformance(new URL('./harness.ts', import.meta.url), { profile: 'standard' });
 */
export function conformance(url: URL, options: ConformanceOptions = {}): void {
  const { profile = "standard", title = "conformance" } = options;
  const chosen = catalogue.filter((stated) =>
    options.cases ? options.cases.includes(stated.id) : (stated.profile === "fault") === (profile === "fault"),
  );
  vi.setConfig({ maxConcurrency: chosen.length }); // The session below takes turns as its broker bears it.
  describe(`${title} (${profile})`, () => {
    let session: Session | undefined;
    let turns = takingTurns(1);
    beforeAll(async () => {
      if (options.unavailable !== undefined) return;
      session = await openSession(url, { ...options, profile });
      turns = takingTurns(session.harness.parallel ?? 4);
    }, 60_000);
    afterAll(async () => {
      await session?.close();
    }, 60_000);
    for (const stated of chosen) {
      const register = stated.serial === true || profile === "fault" ? test : test.concurrent;
      register(`${stated.id} ${stated.title}`, { timeout: 300_000, retry: 0 }, async ({ skip, task }) => {
        if (!session) return skip(`environment: ${options.unavailable}`);
        const open = session;
        const result = await turns(() => open.runCase(stated));
        Object.assign(task.meta, { conformance: result });
        if (result.status === "skip") skip(`${result.skip ?? ""}: ${result.reason ?? ""}`);
        if (result.status !== "pass") throw new Error(`${result.status}: ${result.reason ?? ""}`);
      });
    }
  });
}

/** At most `width` at once, whatever the runner's own concurrency is: the harness knows what its broker bears. */
function takingTurns(width: number): <T>(run: () => Promise<T>) => Promise<T> {
  const waiting: (() => void)[] = [];
  let running = 0;
  return async (run) => {
    if (running >= width) await new Promise<void>((resolve) => waiting.push(resolve));
    running++;
    try {
      return await run();
    } finally {
      running--;
      waiting.shift()?.();
    }
  };
}
