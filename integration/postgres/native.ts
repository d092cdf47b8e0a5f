import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { chown, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { guard } from "../brokers/guard.ts";
import type { Log } from "../brokers/index.ts";
import { installPackages, isExecutable } from "../brokers/install.ts";
import { freePorts } from "../brokers/ports.ts";
import { ManagedProcess } from "../brokers/process.ts";
import { untilServing } from "./ready.ts";
import type { RunningPostgres } from "./types.ts";

const run = promisify(execFile);
/** Where Debian puts the programs of each version; they are not in PATH. */
const versions = "/usr/lib/postgresql";

interface User {
  readonly uid: number;
  readonly gid: number;
}

/** Debian's PostgreSQL as an instance of its own, with its data in a temporary folder; nothing is shared with the system's. */
export async function startNativePostgres(log: Log): Promise<RunningPostgres> {
  const programs = await findPrograms(log);
  const user = await unprivileged();
  const directory = await mkdtemp(join(tmpdir(), "sluice-postgres-"));
  const forget = guard({ kind: "directory", path: directory });
  const remove = async (): Promise<void> => {
    await rm(directory, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
    forget();
  };
  try {
    return await serve(programs, directory, user, remove);
  } catch (error) {
    await remove();
    throw error;
  }
}

async function findPrograms(log: Log): Promise<string> {
  const found = await installed();
  if (found) return found;
  await installPackages(["postgresql"], log);
  const now = await installed();
  if (!now) throw new Error(`no ${versions}/<version>/bin/postgres, although the package is installed`);
  return now;
}

/** The newest version's folder. */
async function installed(): Promise<string | undefined> {
  const names = await readdir(versions).catch(() => []);
  for (const name of names.toSorted((one, other) => Number(other) - Number(one))) {
    const folder = join(versions, name, "bin");
    if ((await isExecutable(join(folder, "postgres"))) && (await isExecutable(join(folder, "initdb")))) return folder;
  }
  return undefined;
}

/** PostgreSQL refuses to run as root: then as the package's own user. */
async function unprivileged(): Promise<User | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  const line = /^postgres:[^:]*:(\d+):(\d+):/m.exec(await readFile("/etc/passwd", "utf8"));
  if (!line) throw new Error('no user "postgres" in /etc/passwd, although the package is installed');
  return { uid: Number(line[1]), gid: Number(line[2]) };
}

async function serve(
  programs: string,
  directory: string,
  user: User | undefined,
  remove: () => Promise<void>,
): Promise<RunningPostgres> {
  const [port = 0] = await freePorts(1);
  const data = join(directory, "data");
  const password = randomBytes(12).toString("hex");
  const passwordFile = join(directory, "password");
  await writeFile(passwordFile, password, { mode: 0o600 });
  if (user) for (const path of [directory, passwordFile]) await chown(path, user.uid, user.gid);
  const environment = { PATH: process.env["PATH"], LC_ALL: "C.UTF-8" };
  const options = ["-D", data, "-U", "sluice", "-A", "scram-sha-256", `--pwfile=${passwordFile}`, "-E", "UTF8", "-N"];
  await run(join(programs, "initdb"), options, { cwd: directory, env: environment, ...user });
  const settings = { listen_addresses: "127.0.0.1", unix_socket_directories: "", max_connections: "50" };
  const node = new ManagedProcess({
    command: join(programs, "postgres"),
    args: [
      "-D",
      data,
      "-p",
      String(port),
      ...Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`]),
    ],
    environment,
    directory,
    log: join(directory, "server.log"),
    user,
  });
  const url = `postgres://sluice:${password}@127.0.0.1:${port}/postgres`;
  const start = async (): Promise<string> => {
    await node.start();
    return untilServing(url, () => (node.running ? undefined : node.ending)).catch(async (error: unknown) => {
      const tail = await node.tail();
      await halt(node);
      throw new Error(`${(error as Error).message}\nend of its log:\n${tail}`, { cause: error });
    });
  };
  const version = await start();
  const restart = async (): Promise<void> => {
    await halt(node);
    await start();
  };
  const stop = async (): Promise<void> => {
    await halt(node);
    await remove();
  };
  return { provider: "native", version, url, restart, stop };
}

/**
 * n.b. SIGTERM alone waits for every client to leave, and SIGKILL leaves a piece of shared memory behind for ever: SIGINT ends
 * the connections first.
 */
async function halt(node: ManagedProcess): Promise<void> {
  if (node.pid !== undefined) process.kill(node.pid, "SIGINT");
  await node.stop("graceful");
}
