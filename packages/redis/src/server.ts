import { DriverError } from "@sluice/core/driver";
import type { Link } from "./client.ts";

/** What the server says of itself. Members that it does not tell are undefined. */
export interface Server {
  /** `Redis 8.0.6`, `Valkey 9.1.2`. */
  readonly name: string;
  readonly version: string;
  readonly eviction: string | undefined;
  readonly appendOnly: boolean | undefined;
  readonly replicas: number;
}

/** @throws DriverError */
export async function askServer(link: Link): Promise<Server> {
  // n.b. 7.0 takes several sections, managed servers may take none: everything is asked for.
  const text = await link
    .ask("cannot look at the server", (client) => client.info())
    .catch((error: unknown) => {
      // Who may not ask may still publish and read.
      if (error instanceof DriverError && (error.code === "FORBIDDEN" || error.code === "UNSUPPORTED")) return "";
      throw error;
    });
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
