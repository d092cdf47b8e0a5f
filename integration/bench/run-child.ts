import { spawn } from "node:child_process";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import type { Finding, Task } from "./contender.ts";

const child = fileURLToPath(new URL("./child.ts", import.meta.url));
const limitMs = 180_000;

/**
 * Runs one task in a process of its own. `profile`: a folder for its processor profile.
 * @throws Error with what the child wrote when it failed, or took too long
 */
export async function runChild(task: Task, profile: string | undefined): Promise<Finding> {
  const profiling =
    profile === undefined
      ? []
      : ["--cpu-prof", `--cpu-prof-dir=${profile}`, `--cpu-prof-name=${nameOf(task)}.cpuprofile`];
  const started = spawn(
    process.execPath,
    [
      "--conditions=@sluice/source",
      "--disable-warning=TimeoutNegativeWarning",
      ...profiling,
      child,
      JSON.stringify(task),
    ],
    { stdio: ["ignore", "pipe", "pipe"], timeout: limitMs, killSignal: "SIGKILL" },
  );
  const ended = new Promise<number | null>((resolve) => void started.on("close", resolve));
  const [output, errors, code] = await Promise.all([text(started.stdout), text(started.stderr), ended]);
  const last = output.trimEnd().split("\n").at(-1) ?? "";
  if (code === 0 && last.startsWith("{")) return JSON.parse(last) as Finding;
  const how = code === null ? `was killed (after ${limitMs / 1000} s at the latest)` : `ended with ${code}`;
  throw new Error(`${nameOf(task)} ${how}: ${errors.trim() || "it wrote nothing"}`);
}

function nameOf({ broker, contender, scenario, topic }: Task): string {
  return `${broker}-${scenario}-${contender}-${topic}`;
}
