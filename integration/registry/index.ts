import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { guard } from "../brokers/guard.ts";
import { javaOrInstall } from "../brokers/native-kafka.ts";
import { orUndo } from "../brokers/native.ts";
import { freePorts } from "../brokers/ports.ts";
import { ManagedProcess } from "../brokers/process.ts";
import type { Log, StopMode } from "../brokers/types.ts";
import { apicurioFolder, apicurioVersion } from "./install.ts";

/** Apicurio Registry as a process of this machine. It also ends if this process is killed. */
export interface RunningRegistry {
  readonly version: string;
  /** Its Confluent-compatible API: what a client of a schema registry takes as URL. */
  readonly url: string;
  /** Milliseconds from the request to the first answer. */
  readonly readyAfter: number;
  /** The port and the schemas stay. */
  stop(mode: StopMode): Promise<void>;
  /** Resolves when it serves again. */
  start(): Promise<void>;
  /** Stops it for good and removes its data. May be called twice. */
  close(): Promise<void>;
}

export interface UnavailableRegistry {
  readonly unavailable: string;
}

/**
 * Starts Apicurio Registry on a free loopback port. What cannot be had is reported, not thrown, unless
 * SLUICE_REQUIRE_BROKERS is `all`.
 */
export async function apicurio(
  log: Log = (line) => void process.stderr.write(`registry: ${line}\n`),
): Promise<RunningRegistry | UnavailableRegistry> {
  try {
    return await startApicurio(log);
  } catch (error) {
    if (process.env["SLUICE_REQUIRE_BROKERS"]?.includes("all")) throw error;
    return { unavailable: (error as Error).message };
  }
}

async function startApicurio(log: Log): Promise<RunningRegistry> {
  const java = await javaOrInstall(log);
  const distribution = await apicurioFolder(log);
  const since = performance.now();
  const directory = await mkdtemp(join(tmpdir(), "sluice-registry-"));
  const forget = guard({ kind: "directory", path: directory });
  const remove = async (): Promise<void> => {
    await rm(directory, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
    forget();
  };
  return orUndo(remove, async () => {
    const [port = 0] = await freePorts(1);
    const node = nodeOf(java, distribution, directory, port);
    const url = `http://127.0.0.1:${port}/apis/ccompat/v7`;
    const start = async (): Promise<void> => {
      await node.start();
      await untilServing(url, node);
    };
    const stop = (mode: StopMode): Promise<void> => node.stop(mode);
    const close = async (): Promise<void> => {
      await stop("kill");
      await remove();
    };
    await orUndo(() => stop("kill"), start);
    return { version: apicurioVersion, url, readyAfter: Math.round(performance.now() - since), start, stop, close };
  });
}

function nodeOf(java: string, distribution: string, directory: string, port: number): ManagedProcess {
  const settings = ["-Dquarkus.http.host=127.0.0.1", `-Dquarkus.http.port=${port}`];
  const memory = ["-Xmx512m", "-XX:TieredStopAtLevel=1", "-XX:+ExitOnOutOfMemoryError"];
  return new ManagedProcess({
    command: java,
    args: [...memory, ...settings, "-jar", join(distribution, `apicurio-registry-app-${apicurioVersion}-runner.jar`)],
    environment: { ...process.env, ...databaseIn(directory) },
    directory,
    log: join(directory, "server.log"),
  });
}

/** In a file instead of in memory: schemas survive a restart. On a busy machine the default of 5 s for a connection is too short. */
function databaseIn(directory: string): Readonly<Record<string, string>> {
  return {
    REGISTRY_DATASOURCE_URL: `jdbc:h2:file:${join(directory, "registry")}`,
    QUARKUS_DATASOURCE_JDBC_INITIAL_SIZE: "1",
    QUARKUS_DATASOURCE_JDBC_MIN_SIZE: "1",
    QUARKUS_DATASOURCE_JDBC_ACQUISITION_TIMEOUT: "60",
  };
}

const readyWithinMs = 180_000;

async function untilServing(url: string, node: ManagedProcess): Promise<void> {
  const deadline = performance.now() + readyWithinMs;
  for (;;) {
    const failure = await answers(url);
    if (failure === undefined) return;
    const late = performance.now() > deadline ? `did not answer within ${readyWithinMs} ms` : undefined;
    const end = node.running ? late : node.ending;
    if (end) throw new Error(`Apicurio ${end}; last answer: ${failure}\nend of its log:\n${await node.tail()}`);
    await delay(200);
  }
}

/** Why it does not serve yet; `undefined` once it does. */
async function answers(url: string): Promise<string | undefined> {
  try {
    const response = await fetch(`${url}/subjects`, { signal: AbortSignal.timeout(5_000) });
    await response.arrayBuffer();
    return response.ok ? undefined : `HTTP ${response.status}`;
  } catch (error) {
    return (error as Error).message;
  }
}
