import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync } from "node:fs";
import { open } from "node:fs/promises";
import { guard } from "./guard.ts";
import type { StopMode } from "./types.ts";

export interface ProcessSpec {
  readonly command: string;
  readonly args: readonly string[];
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly directory: string;
  readonly log: string;
  /** Runs it as somebody else; only root can. */
  readonly user?: { readonly uid: number; readonly gid: number } | undefined;
}

const gracefulLimit = 40_000;

/** A program that can be stopped and started again, and that never outlives this process. */
export class ManagedProcess {
  readonly spec: ProcessSpec;
  #child: ChildProcess | undefined;
  #forget: (() => void) | undefined;

  constructor(spec: ProcessSpec) {
    this.spec = spec;
  }

  get pid(): number | undefined {
    return this.running ? this.#child?.pid : undefined;
  }

  get running(): boolean {
    const child = this.#child;
    return child?.pid !== undefined && child.exitCode === null && child.signalCode === null;
  }

  /** How it ended, for error messages. */
  get ending(): string {
    const child = this.#child;
    if (child === undefined) return "was not started";
    return child.signalCode === null ? `exited with code ${child.exitCode}` : `was ended by ${child.signalCode}`;
  }

  async start(): Promise<void> {
    if (this.running) return;
    const { command, args, environment, directory, log, user } = this.spec;
    const output = openSync(log, "a");
    try {
      // Detached makes it the leader of a process group, which is stopped as a whole.
      const child = spawn(command, args, {
        detached: true,
        stdio: ["ignore", output, output],
        cwd: directory,
        env: environment as NodeJS.ProcessEnv,
        ...user,
      });
      this.#child = child;
      // n.b. in the tick of the spawn, or a SIGKILL of this process could leave it behind.
      if (child.pid !== undefined) this.#forget = guard({ kind: "process-group", pid: child.pid });
      child.unref();
      await once(child, "spawn");
    } finally {
      closeSync(output);
    }
  }

  async stop(mode: StopMode): Promise<void> {
    const child = this.#child;
    if (child?.pid === undefined) return;
    if (this.running) {
      child.ref();
      const exit = once(child, "exit");
      signalGroup(child.pid, mode === "kill" ? "SIGKILL" : "SIGTERM");
      const impatience = setTimeout(signalGroup, gracefulLimit, child.pid, "SIGKILL");
      await exit;
      clearTimeout(impatience);
    }
    signalGroup(child.pid, "SIGKILL");
    this.#forget?.();
    this.#forget = undefined;
  }

  /** The end of the log. */
  async tail(lines = 30): Promise<string> {
    return tailOf(this.spec.log, lines);
  }
}

async function tailOf(path: string, lines: number): Promise<string> {
  const file = await open(path).catch(() => undefined);
  if (file === undefined) return "(no log)";
  try {
    const { size } = await file.stat();
    const length = Math.min(size, 16_384);
    const { buffer } = await file.read(Buffer.alloc(length), 0, length, size - length);
    return buffer.toString("utf8").trimEnd().split("\n").slice(-lines).join("\n");
  } finally {
    await file.close();
  }
}

function signalGroup(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-pid, signal);
  } catch {
    // The group is gone already.
  }
}
