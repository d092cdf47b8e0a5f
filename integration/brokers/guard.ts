import { spawn } from "node:child_process";
import { Socket } from "node:net";
import { join } from "node:path";
import type { GuardedThing, GuardMessage } from "./guard-child.ts";

let pipe: Socket | undefined;
let counter = 0;

/**
 * Has `thing` removed when this process ends in whatever way, SIGKILL included.
 * Call it before or in the same tick as the thing comes into being. Returns the
 * function to call once the thing is gone by itself.
 */
export function guard(thing: GuardedThing): () => void {
  const number = ++counter;
  tell({ add: number, thing });
  return () => tell({ remove: number });
}

function tell(message: GuardMessage): void {
  if (pipe === undefined || pipe.destroyed) pipe = startGuard();
  pipe.write(`${JSON.stringify(message)}\n`);
}

function startGuard(): Socket {
  // Detached: a session of its own, so that Ctrl-C in the terminal does not reach it.
  const child = spawn(process.execPath, [join(import.meta.dirname, "guard-child.ts")], {
    detached: true,
    stdio: ["pipe", "ignore", "ignore"],
    cwd: "/",
    env: { PATH: process.env["PATH"] },
  });
  if (!(child.stdin instanceof Socket)) throw new Error("guard: no pipe to the watching process");
  child.stdin.on("error", () => {});
  child.stdin.unref();
  child.unref();
  return child.stdin;
}
