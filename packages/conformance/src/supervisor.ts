import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { within } from "./clock.ts";
import type { Journal } from "./ledger.ts";

/** What a child gets in its only message. */
export interface WorkerTask {
  readonly harness: string;
  readonly worker: string;
  readonly ledger: string;
  readonly process: string;
  readonly run: string;
  readonly options: Readonly<Record<string, unknown>>;
}

interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** One child process that runs a worker with the harness. Dies with its parent. */
export interface Child {
  readonly name: string;
  readonly pid: number;
  /** Everything the child wrote to stdout and stderr. */
  readonly output: () => string;
  readonly exited: Promise<Exit>;
  /** SIGKILL; resolves when it is gone. */
  kill(): Promise<Exit>;
  /** SIGSTOP and SIGCONT. */
  freeze(): void;
  thaw(): void;
  /** Asks the worker to close in order; resolves when the process ended by itself. */
  stop(limitMs: number): Promise<Exit>;
}

const extension = import.meta.url.endsWith(".ts") ? ".ts" : ".js";
const entry = fileURLToPath(new URL(`./child${extension}`, import.meta.url));
const living = new Set<ChildProcess>();

process.on("exit", () => {
  for (const child of living) child.kill("SIGKILL");
});

/** Starts workers for one case, and leaves none behind. */
export class Supervisor {
  readonly #harness: string;
  readonly #run: string;
  readonly #journal: Journal;
  readonly #variables: Readonly<Record<string, string>>;
  readonly #children: Child[] = [];

  /** @param variables added to the environment of every child */
  constructor(harness: string, run: string, journal: Journal, variables: Readonly<Record<string, string>> = {}) {
    this.#harness = harness;
    this.#run = run;
    this.#journal = journal;
    this.#variables = variables;
  }

  /** Starts `worker` (a module of `workers/`) as process `name`; its ledger is followed. */
  start(worker: string, name: string, options: Readonly<Record<string, unknown>> = {}): Child {
    const child = fork(entry, [], {
      execPath: process.execPath,
      execArgv: extension === ".ts" ? ["--conditions=@sluice/source"] : [],
      env: { ...childEnvironment(), ...this.#variables },
      stdio: ["ignore", "pipe", "pipe", "ipc"],
    });
    living.add(child);
    const output: string[] = [];
    child.stdout?.on("data", (chunk: Buffer) => output.push(chunk.toString()));
    child.stderr?.on("data", (chunk: Buffer) => output.push(chunk.toString()));
    const exited = once(child, "close").then(([code, signal]): Exit => {
      living.delete(child);
      return { code: code as number | null, signal: signal as NodeJS.Signals | null };
    });
    const task: WorkerTask = {
      harness: this.#harness,
      worker,
      ledger: this.#journal.path(name),
      process: name,
      run: this.#run,
      options,
    };
    child.on("error", () => {}); // A send to a killed child; `close` follows.
    child.send(task);
    this.#journal.follow(name);
    const started = makeChild(child, name, exited, output);
    this.#children.push(started);
    return started;
  }

  /** Kills what still runs. */
  async close(): Promise<void> {
    await Promise.all(this.#children.map((child) => child.kill()));
    this.#journal.catchUp();
  }
}

function makeChild(child: ChildProcess, name: string, exited: Promise<Exit>, output: string[]): Child {
  const alive = () => child.exitCode === null && child.signalCode === null;
  return {
    name,
    pid: child.pid ?? 0,
    output: () => output.join(""),
    exited,
    kill() {
      if (alive()) child.kill("SIGKILL");
      return exited;
    },
    freeze: () => void child.kill("SIGSTOP"),
    thaw: () => void child.kill("SIGCONT"),
    async stop(limitMs) {
      if (alive() && child.connected) child.send({ stop: true });
      return within(limitMs, `process ${name} ends by itself after its orderly close`, exited, () => output.join(""));
    },
  };
}

/** Ambient credentials are no part of a harness: it states its own, or none. */
function childEnvironment(): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(([name]) => !/^(VITEST|NODE_OPTIONS|NODE_V8_COVERAGE)/.test(name));
  return Object.fromEntries(kept);
}
