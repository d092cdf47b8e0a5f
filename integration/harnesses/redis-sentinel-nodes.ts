/** A master, a replica and a sentinel, as native processes. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Redis } from "ioredis";
import { findProgram } from "../brokers/install.ts";
import { freePorts } from "../brokers/ports.ts";
import { ManagedProcess } from "../brokers/process.ts";

export interface SentinelNodes {
  readonly sentinel: { readonly urls: readonly string[]; readonly name: string };
  /** Waits until the replica has everything, then kills the master. Nobody starts it again. */
  killMaster(): Promise<void>;
  stop(): Promise<void>;
}

const name = "conformance";
/** How long the three may take to know each other. */
const agreeMs = 30_000;

/** `undefined`: there is no redis-server here. */
export async function startSentinelNodes(): Promise<SentinelNodes | undefined> {
  const server = await findProgram("redis-server");
  if (server === undefined) return undefined;
  const directory = mkdtempSync(join(tmpdir(), "sluice-redis-sentinel-"));
  const [master = 0, replica = 0, port = 0] = await freePorts(3);
  const processes = [
    nodeOf(server, join(directory, "master"), `port ${master}\nappendonly yes`),
    nodeOf(server, join(directory, "replica"), `port ${replica}\nappendonly yes\nreplicaof 127.0.0.1 ${master}`),
    nodeOf(server, join(directory, "sentinel"), sentinelSettings(port, master), "--sentinel"),
  ];
  const clients: Redis[] = [];
  const stop = async () => {
    for (const client of clients) client.disconnect();
    await Promise.all(processes.map((each) => each.stop("kill")));
    rmSync(directory, { recursive: true, force: true });
  };
  try {
    await Promise.all(processes.map((each) => each.start()));
    for (const each of [master, port]) clients.push(new Redis(each, "127.0.0.1").on("error", () => {}));
    const [first, guard] = clients;
    await until("replica", async () => /connected_slaves:1/.test((await first?.info("replication")) ?? ""));
    await until("sentinel", async () => /slaves=1/.test((await guard?.info("sentinel")) ?? ""));
    const killMaster = async () => {
      await first?.wait(1, agreeMs);
      first?.disconnect();
      await processes[0]?.stop("kill");
    };
    return { sentinel: { urls: [`redis://127.0.0.1:${port}`], name }, killMaster, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

function sentinelSettings(port: number, master: number): string {
  const times = `sentinel down-after-milliseconds ${name} 500\nsentinel failover-timeout ${name} 3000`;
  return `port ${port}\nsentinel monitor ${name} 127.0.0.1 ${master} 1\n${times}`;
}

/** n.b. a sentinel writes into its file. */
function nodeOf(command: string, directory: string, settings: string, ...more: readonly string[]): ManagedProcess {
  mkdirSync(directory);
  const file = join(directory, "redis.conf");
  writeFileSync(file, `bind 127.0.0.1\ndir ${directory}\n${settings}\n`);
  const log = join(directory, "server.log");
  return new ManagedProcess({ command, args: [file, ...more], environment: process.env, directory, log });
}

async function until(what: string, check: () => Promise<boolean>): Promise<void> {
  const untilMs = performance.now() + agreeMs;
  while (!(await check())) {
    if (performance.now() > untilMs) throw new Error(`the ${what} does not know the others within ${agreeMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
