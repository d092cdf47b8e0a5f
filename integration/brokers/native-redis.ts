import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { fits } from "./images.ts";
import { findProgram, installPackages } from "./install.ts";
import { type NativeBroker, startNative } from "./native.ts";
import { freePorts } from "./ports.ts";
import { ManagedProcess } from "./process.ts";
import { redisSettings } from "./redis-settings.ts";
import type { BrokerRequest, Log, RunningBroker } from "./types.ts";

const run = promisify(execFile);

/** Debian's redis-server as an instance of its own, with its data in a temporary folder. */
export async function startNativeRedis(request: BrokerRequest, log: Log): Promise<RunningBroker> {
  const server = await redisServer(log);
  const version = await installedRedis(server);
  if (!fits(version, request.version)) throw new Error(`installed is Redis ${version}, not ${request.version}`);
  return startNative(request, (directory) => prepare(server, directory, version));
}

async function redisServer(log: Log): Promise<string> {
  const found = await findProgram("redis-server");
  if (found) return found;
  await installPackages(["redis-server"], log);
  const server = await findProgram("redis-server");
  if (!server) throw new Error("redis-server is not in the PATH, although the package is installed");
  return server;
}

export async function installedRedis(server: string): Promise<string> {
  const { stdout } = await run(server, ["--version"]);
  const version = /\bv=(\S+)/.exec(stdout)?.[1];
  if (!version) throw new Error(`${server} --version tells no version: ${stdout.trim()}`);
  return version;
}

async function prepare(server: string, directory: string, version: string): Promise<NativeBroker> {
  const [port = 0] = await freePorts(1);
  const node = new ManagedProcess({
    command: server,
    args: ["--port", String(port), "--bind", "127.0.0.1", "--dir", directory, ...redisSettings],
    environment: process.env,
    directory,
    log: join(directory, "server.log"),
  });
  return { version, keepsData: true, address: { kind: "url", url: `redis://127.0.0.1:${port}` }, node };
}
