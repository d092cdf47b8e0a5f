// Debian's Prometheus as an instance of its own, with its data in a temporary folder, scraping one service every second.
import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { guard } from "../brokers/guard.ts";
import { findProgram, installPackages } from "../brokers/install.ts";
import { freePorts } from "../brokers/ports.ts";
import { ManagedProcess } from "../brokers/process.ts";
import type { Log } from "../brokers/types.ts";

const run = promisify(execFile);

/** One series, or one number, of an answer; a value is text, as Prometheus sends it. */
interface Series {
  readonly metric: Readonly<Record<string, string>>;
  readonly value: readonly [number, string];
}

export interface Prometheus {
  readonly version: string;
  readonly url: string;
  /** What an expression comes to now. @throws Error with Prometheus's own words where it cannot be parsed */
  readonly query: (expression: string) => Promise<readonly Series[]>;
  /** May be called twice. */
  stop(): Promise<void>;
}

/**
 * @param target host and port of what is scraped, at `/metrics`
 * @throws Error with the reason when Prometheus cannot be had
 */
export async function startPrometheus(target: string, log: Log = logToStderr): Promise<Prometheus> {
  const program = await programOf(log);
  const { stdout, stderr } = await run(program, ["--version"]);
  // n.b. older ones write it to stderr.
  const version = /version (\S+)/.exec(stdout + stderr)?.[1] ?? "unknown";
  const directory = await mkdtemp(join(tmpdir(), "sluice-prometheus-"));
  const forget = guard({ kind: "directory", path: directory });
  const [port = 0] = await freePorts(1);
  const config = join(directory, "prometheus.yml");
  const server = new ManagedProcess({
    command: program,
    args: [
      `--config.file=${config}`,
      `--storage.tsdb.path=${join(directory, "data")}`,
      `--web.listen-address=127.0.0.1:${port}`,
    ],
    environment: process.env,
    directory,
    log: join(directory, "server.log"),
  });
  const stop = async (): Promise<void> => {
    await server.stop("kill");
    await rm(directory, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
    forget();
  };
  try {
    await writeFile(config, configOf(target));
    await server.start();
    const url = `http://127.0.0.1:${port}`;
    await untilReady(url, server);
    return { version, url, query: (expression) => query(url, expression), stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function programOf(log: Log): Promise<string> {
  const found = await findProgram("prometheus");
  if (found) return found;
  await installPackages(["prometheus"], log);
  const program = await findProgram("prometheus");
  if (!program) throw new Error("prometheus is not in the PATH, although the package is installed");
  return program;
}

function configOf(target: string): string {
  return `global:
  scrape_interval: 1s
scrape_configs:
  - job_name: service
    static_configs:
      - targets: ["${target}"]
`;
}

async function untilReady(url: string, server: ManagedProcess): Promise<void> {
  const deadline = Date.now() + 30_000;
  for (;;) {
    const status = await fetch(`${url}/-/ready`).then(
      (answer) => answer.status,
      (error: unknown) => (error as Error).message,
    );
    if (status === 200) return;
    if (!server.running || Date.now() > deadline) {
      const end = server.running ? `is not ready after 30 s (${status})` : server.ending;
      throw new Error(`prometheus ${end}; end of its log:\n${await server.tail()}`);
    }
    await delay(100);
  }
}

interface Answer {
  readonly status: "success" | "error";
  readonly error?: string;
  readonly data?: { readonly resultType: string; readonly result: readonly Series[] };
}

async function query(url: string, expression: string): Promise<readonly Series[]> {
  const answer = await fetch(`${url}/api/v1/query?query=${encodeURIComponent(expression)}`);
  const { error, data } = (await answer.json()) as Answer;
  if (!data) throw new Error(`prometheus: ${expression}: ${error}`);
  if (data.resultType !== "vector") throw new Error(`prometheus: ${expression} is a ${data.resultType}, no series`);
  return data.result;
}

function logToStderr(line: string): void {
  process.stderr.write(`prometheus: ${line}\n`);
}
