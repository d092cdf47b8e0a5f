/** A Redis Cluster of native processes, without replicas: every node has a third of the slots. */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { BrokerControl } from "@sluice/conformance";
import { Redis } from "ioredis";
import { findProgram } from "../brokers/install.ts";
import { freePorts } from "../brokers/ports.ts";
import { ManagedProcess } from "../brokers/process.ts";
import type { StopMode } from "../brokers/types.ts";

export interface ClusterNodes {
  /** The nodes' urls, separated by commas. */
  readonly urls: string;
  /** What it says of itself. */
  readonly version: string;
  /** In turns one node, whose third of the slots nobody serves then, and all of them. */
  readonly control: BrokerControl;
  stop(): Promise<void>;
}

const slots = 16_384;
const count = 3;
/** How long the nodes may take to agree. */
const agreeMs = 30_000;

/**
 * Starts them and tells the harness (and its child processes) through the environment where they are.
 * @throws Error when there is no redis-server here
 */
export async function announceCluster(): Promise<ClusterNodes> {
  const nodes = await startClusterNodes();
  if (!nodes) throw new Error("there is no redis-server in the PATH");
  const { urls: REDIS_CLUSTER_URLS, version: CONFORMANCE_VERSION } = nodes;
  Object.assign(process.env, { REDIS_CLUSTER_URLS, CONFORMANCE_VERSION, CONFORMANCE_PROVIDER: "native" });
  return nodes;
}

/** `undefined`: there is no redis-server here. */
export async function startClusterNodes(): Promise<ClusterNodes | undefined> {
  const server = await findProgram("redis-server");
  if (server === undefined) return undefined;
  const directory = mkdtempSync(join(tmpdir(), "sluice-redis-cluster-"));
  const ports = await freePorts(2 * count);
  const nodes = Array.from({ length: count }, (_, index) =>
    nodeOf(server, join(directory, String(index)), ports, index),
  );
  const clients: Redis[] = [];
  const stop = async () => {
    for (const client of clients) client.disconnect();
    await Promise.all(nodes.map(({ process }) => process.stop("kill")));
    rmSync(directory, { recursive: true, force: true });
  };
  try {
    await Promise.all(nodes.map(({ process }) => process.start()));
    for (const { port } of nodes) {
      const client = new Redis(port, "127.0.0.1");
      client.on("error", () => {}); // It may be quicker than its node, and tries again.
      clients.push(client);
    }
    for (const [index, client] of clients.entries()) {
      const first = Math.floor((index * slots) / count);
      await client.call("cluster", "ADDSLOTSRANGE", first, Math.floor(((index + 1) * slots) / count) - 1);
      const [master] = nodes;
      if (index > 0 && master) await client.call("cluster", "MEET", "127.0.0.1", master.port, master.busPort);
    }
    await Promise.all(clients.map(agreed));
  } catch (error) {
    await stop();
    throw error;
  }
  const [first] = clients;
  return {
    urls: nodes.map(({ port }) => `redis://127.0.0.1:${port}`).join(","),
    version: /redis_version:(\S+)/.exec((await first?.info("server")) ?? "")?.[1] ?? "unknown",
    control: controlOf(nodes, clients),
    stop,
  };
}

function controlOf(nodes: readonly { readonly process: ManagedProcess }[], clients: readonly Redis[]): BrokerControl {
  let turn = 0;
  const cycle = (mode: StopMode) => async (downMs: number) => {
    turn++;
    const down = turn % 2 === 0 ? nodes : nodes.slice(turn % nodes.length, (turn % nodes.length) + 1);
    await Promise.all(down.map(({ process }) => process.stop(mode)));
    await new Promise((resolve) => setTimeout(resolve, downMs));
    await Promise.all(down.map(({ process }) => process.start()));
    await Promise.all(clients.map(agreed));
  };
  return { restart: cycle("graceful"), kill: cycle("kill") };
}

function nodeOf(server: string, directory: string, ports: readonly number[], index: number) {
  const port = ports[index] ?? 0;
  const busPort = ports[index + count] ?? 0;
  mkdirSync(directory);
  const settings = { port, bind: "127.0.0.1", dir: directory, "cluster-enabled": "yes", "cluster-port": busPort };
  const stored = { appendonly: "yes", save: "", "cluster-node-timeout": 2_000 };
  const args = Object.entries({ ...settings, ...stored }).flatMap(([name, value]) => [`--${name}`, String(value)]);
  const log = join(directory, "server.log");
  return {
    port,
    busPort,
    process: new ManagedProcess({ command: server, args, environment: process.env, directory, log }),
  };
}

/** Every node knows all of them, and all slots are served. */
async function agreed(client: Redis): Promise<void> {
  const untilMs = performance.now() + agreeMs;
  for (;;) {
    const info = String(await client.call("cluster", "INFO"));
    if (info.includes("cluster_state:ok") && info.includes(`cluster_known_nodes:${count}`)) return;
    if (performance.now() > untilMs) throw new Error(`the nodes of the cluster do not agree: ${info}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
