import { execFile } from "node:child_process";
import { rmSync } from "node:fs";
import { promisify } from "node:util";
import { afterAll, describe, expect, it } from "vitest";
import { documents, extract, snippetsOf } from "./support/snippets.ts";

const run = promisify(execFile);
// Its own folder, so that two runs at a time do not meet.
const folder = `.snippets/${process.pid}`;
const snippets = extract(documents(), folder);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

// The engine is parsed once, not once per snippet.
const env = { ...process.env, NODE_COMPILE_CACHE: "node_modules/.cache/snippets" };

interface Ended {
  readonly code?: number | string | null;
  readonly stdout: string;
  readonly stderr: string;
}

async function ended(milliseconds: number, command: string, ...rest: readonly string[]): Promise<Ended> {
  return await run(command, rest, { timeout: milliseconds, killSignal: "SIGKILL", env }).catch(
    (error: unknown) => error as Ended,
  );
}

// Each is a process of its own: they share the cores.
describe.concurrent("snippets in the documents", () => {
  it("type-check", { timeout: 310_000 }, async () => {
    const {
      stdout,
      stderr,
      code = 0,
    } = await ended(300_000, "node_modules/.bin/tsc", "-p", folder, "--pretty", "false");
    expect({ said: stdout + stderr, code }).toEqual({ said: "", code: 0 });
  });

  // Those that need a broker run in integration/test/documents.test.ts.
  const runnable = snippets.filter(({ notRun, broker }) => notRun === undefined && broker === undefined);
  it.for(runnable)("$name runs and ends by itself", { timeout: 130_000 }, async ({ file, prints }) => {
    const { stdout, stderr, code = 0 } = await ended(120_000, process.execPath, "--conditions=@sluice/source", file);
    const printed = stdout
      .split("\n")
      .filter((line) => line !== "")
      .toSorted();
    expect({ stderr, printed, code }).toEqual({ stderr: "", printed: prints, code: 0 });
  });
});

describe("snippetsOf", () => {
  const page = (info: string) => `# Title\n\n\`\`\`${info}\nconsole.log(1); // → 1\n\`\`\`\n`;

  it("keeps the line numbers of the document and finds what must be printed", () => {
    expect(snippetsOf("a.md", page("ts"), "x")).toEqual([
      {
        name: "a.md:4",
        file: "x/a.md-4.ts",
        code: "\n\n\nconsole.log(1); // → 1\n",
        notRun: undefined,
        broker: undefined,
        prints: ["1"],
      },
    ]);
  });

  it("knows the broker that a snippet wants", () => {
    expect(snippetsOf("a.md", page("ts broker: kafka"), "x")[0]).toMatchObject({ notRun: undefined, broker: "kafka" });
  });

  it("wants a reason for what is not run", () => {
    expect(snippetsOf("a.md", page("ts no-run: needs a broker"), "x")[0]?.notRun).toBe("needs a broker");
    expect(() => snippetsOf("a.md", page("ts no-run"), "x")).toThrow('write "no-run: why", "broker: name" or nothing');
  });

  it("lets no code block escape under another name", () => {
    expect(() => snippetsOf("a.md", page("typescript"), "x")).toThrow("a.md:4: write ```ts");
  });
});
