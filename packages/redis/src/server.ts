import { DriverError, type Runtime } from "@sluice/core/driver";
import { Cluster, type Redis } from "ioredis";
import type { Link } from "./client.ts";
import { bounded } from "./waiting.ts";

/** What the server says of itself. Members that it does not tell are undefined. */
export interface Server {
  /** `Redis 8.0.6`, `Valkey 9.1.2`. */
  readonly name: string;
  readonly version: string;
  readonly eviction: string | undefined;
  readonly appendOnly: boolean | undefined;
  readonly replicas: number;
}

/** How long one node of a cluster may take to answer: without those that are down the others serve. */
const nodeMs = 2_000;

/** Of a cluster: the worst of its masters, which are set up one by one. @throws DriverError */
export async function askServer(link: Link, runtime: Runtime): Promise<Server> {
  // n.b. 7.0 takes several sections, managed servers may take none: everything is asked for.
  const ask = async (client: Redis | Cluster): Promise<string | readonly string[]> =>
    client instanceof Cluster ? askMasters(client, runtime) : client.info();
  const answer = await link.ask("cannot look at the server", ask).catch((error: unknown) => {
    // Who may not ask may still publish and read.
    if (error instanceof DriverError && (error.code === "FORBIDDEN" || error.code === "UNSUPPORTED")) return "";
    throw error;
  });
  return [answer].flat().map(serverOf).reduce(worse);
}

async function askMasters(cluster: Cluster, runtime: Runtime): Promise<readonly string[]> {
  const late = () => new DriverError("UNAVAILABLE", "redis: a node of the cluster did not answer");
  const masters = cluster.nodes("master").map((node) => bounded(node.info(), { runtime, ms: nodeMs, late }));
  const answers = await Promise.allSettled(masters);
  const texts = answers.flatMap((each) => (each.status === "fulfilled" ? [each.value] : []));
  return texts.length > 0 ? texts : [await cluster.info()];
}

function worse(one: Server, other: Server): Server {
  const evicts = ({ eviction = "noeviction" }: Server) => eviction !== "noeviction";
  const keeps = ({ appendOnly, replicas }: Server) => appendOnly !== false || replicas > 0;
  const { name, version } = Number.parseInt(other.version, 10) < Number.parseInt(one.version, 10) ? other : one;
  return {
    name,
    version,
    eviction: (evicts(one) ? one : other).eviction,
    appendOnly: one.appendOnly === true || other.appendOnly === false ? other.appendOnly : one.appendOnly,
    replicas: keeps(one) && keeps(other) ? Math.max(one.replicas, other.replicas) : 0,
  };
}

function serverOf(text: string): Server {
  const values = new Map(text.split(/\r?\n/).flatMap((line) => (line.includes(":") ? [split(line)] : [])));
  // n.b. Valkey also says redis_version:7.2.4, for old clients.
  const valkey = values.get("valkey_version");
  const version = valkey ?? values.get("redis_version") ?? "";
  const appendOnly = values.get("aof_enabled");
  return {
    name: `${valkey === undefined ? "Redis" : "Valkey"} ${version || "of unknown version"}`,
    version,
    eviction: values.get("maxmemory_policy"),
    appendOnly: appendOnly === undefined ? undefined : appendOnly === "1",
    replicas: Number(values.get("connected_slaves") ?? 0),
  };
}

/** Streams as they are used here, and sharded channels, begin with 7.0. @throws DriverError UNSUPPORTED, naming the version */
export function checkVersion({ name, version }: Pick<Server, "name" | "version">, who: string): void {
  const major = Number.parseInt(version, 10);
  // Who may not ask for the version finds out otherwise.
  if (Number.isNaN(major) || major >= 7) return;
  throw new DriverError("UNSUPPORTED", `${who}: the server is ${name}; use Redis 7.0, Valkey 7.2, or newer`);
}

function split(line: string): readonly [string, string] {
  const at = line.indexOf(":");
  return [line.slice(0, at), line.slice(at + 1)];
}
