// Runs as a process of its own, started by guard.ts. It holds one end of a pipe; when the
// pipe closes, the run is over (finished, crashed or killed) and what is left is removed.
// Only Node's own modules: it must start fast and resolve without conditions.
import { rm } from "node:fs/promises";
import { request } from "node:http";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";

export type GuardedThing =
  | { readonly kind: "process-group"; readonly pid: number }
  | { readonly kind: "directory"; readonly path: string }
  | { readonly kind: "container"; readonly socket: string; readonly name: string };

export type GuardMessage = { readonly add: number; readonly thing: GuardedThing } | { readonly remove: number };

const things = new Map<number, GuardedThing>();

// A terminal's Ctrl-C must not end the guard before the run is over.
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => {});

const lines = createInterface({ input: process.stdin });
lines.on("line", (line) => {
  const message = JSON.parse(line) as GuardMessage;
  if ("add" in message) things.set(message.add, message.thing);
  else things.delete(message.remove);
});
lines.on("close", () => void clean().finally(() => process.exit(0)));

async function clean(): Promise<void> {
  const left = [...things.values()];
  const groups = left.filter((thing) => thing.kind === "process-group");
  for (const group of groups) signalGroup(group.pid, "SIGKILL");
  // n.b. a dying process can still write: directories go after the processes.
  for (let waited = 0; waited < 5_000 && groups.some((group) => signalGroup(group.pid, 0)); waited += 50)
    await delay(50);
  await Promise.allSettled(left.map((thing) => remove(thing)));
}

async function remove(thing: GuardedThing): Promise<void> {
  if (thing.kind === "directory")
    await rm(thing.path, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
  if (thing.kind === "container") await removeContainer(thing.socket, thing.name);
}

function signalGroup(pid: number, signal: NodeJS.Signals | 0): boolean {
  try {
    return process.kill(-pid, signal);
  } catch {
    return false;
  }
}

function removeContainer(socketPath: string, name: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const path = `/containers/${encodeURIComponent(name)}?force=true&v=true`;
    const call = request({ socketPath, path, method: "DELETE" }, (response) => {
      response.resume();
      response.once("end", resolve);
    });
    call.once("error", reject);
    call.end();
  });
}
