import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { chown, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { fits } from "./images.ts";
import { findProgram, installPackages, isExecutable } from "./install.ts";
import { type NativeBroker, startNative } from "./native.ts";
import { freePorts } from "./ports.ts";
import { ManagedProcess } from "./process.ts";
import type { BrokerRequest, Log, RunningBroker } from "./types.ts";

/** n.b. With the usual 1,024 open files the node hangs without a word at about 150 quorum queues. */
const raisedFileLimit = 'ulimit -n "$(ulimit -Hn)"; exec "$0"';

const run = promisify(execFile);
// n.b. not the ones in PATH: Debian's wrappers switch the user and throw the environment away.
export const rabbitPrograms = "/usr/lib/rabbitmq/bin";

/** Debian's rabbitmq-server as an instance of its own; nothing is shared with a system instance. */
export async function startNativeRabbit(request: BrokerRequest, log: Log): Promise<RunningBroker> {
  const server = join(rabbitPrograms, "rabbitmq-server");
  if (!(await isExecutable(server))) await installPackages(["rabbitmq-server"], log);
  const installed = await installedVersion();
  if (!fits(installed, request.version)) throw new Error(`installed is RabbitMQ ${installed}, not ${request.version}`);
  return startNative(request, (directory) => prepare(server, directory, installed));
}

/** By the package's folder name; starting the server to ask it would take seconds. */
export async function installedVersion(): Promise<string> {
  const { stdout } = await run("readlink", ["-f", join(rabbitPrograms, "rabbitmq-server")]);
  const version = /rabbitmq_server-([\d.]+)/.exec(stdout)?.[1];
  if (!version) throw new Error(`no rabbitmq_server-<version> folder behind ${rabbitPrograms}`);
  return version;
}

/** Unprivileged: as the package's own user if we are root. */
async function rabbitUser(): Promise<{ uid: number; gid: number } | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  const users = await readFile("/etc/passwd", "utf8");
  const line = /^rabbitmq:[^:]*:(\d+):(\d+):/m.exec(users);
  if (!line) throw new Error('no user "rabbitmq" in /etc/passwd, although the package is installed');
  return { uid: Number(line[1]), gid: Number(line[2]) };
}

async function prepare(server: string, directory: string, version: string): Promise<NativeBroker> {
  const [port = 0, distributionPort = 0, namesPort = 0] = await freePorts(3);
  const user = await rabbitUser();
  const cookie = join(directory, ".erlang.cookie");
  await mkdir(join(directory, "data"));
  await writeFile(cookie, randomBytes(16).toString("hex"), { mode: 0o400 });
  await writeFile(
    join(directory, "rabbitmq.conf"),
    `listeners.tcp.local = 127.0.0.1:${port}\nlog.console = true\nlog.file = false\n`,
  );
  // Three minutes by default: so long a dead letter waits that was on its way when a node stopped.
  await writeFile(
    join(directory, "advanced.config"),
    "[{rabbit, [{dead_letter_worker_publisher_confirm_timeout, 5000}]}].\n",
  );
  await writeFile(join(directory, "enabled_plugins"), "[].\n");
  await writeFile(join(directory, "environment.conf"), "");
  if (user) for (const path of [directory, join(directory, "data"), cookie]) await chown(path, user.uid, user.gid);

  const environment = environmentOf(directory, { distributionPort, namesPort });
  const log = join(directory, "server.log");
  const node = new ManagedProcess({
    command: "sh",
    args: ["-c", raisedFileLimit, server],
    environment,
    directory,
    log,
    user,
  });
  // Erlang's port mapper would otherwise be started as a daemon that nobody stops.
  const epmd = (await findProgram("epmd")) ?? "epmd";
  const args = ["-address", "127.0.0.1", "-port", String(namesPort)];
  const names = new ManagedProcess({
    command: epmd,
    args,
    environment,
    directory,
    log: join(directory, "epmd.log"),
    user,
  });

  const address = { kind: "url", url: `amqp://guest:guest@127.0.0.1:${port}` } as const;
  const rabbitmqctl = async (...words: readonly string[]): Promise<void> => {
    const where = { env: environment, cwd: directory, ...user, timeout: 60_000 };
    await run(join(rabbitPrograms, "rabbitmqctl"), words, where);
  };
  const memoryAlarm = (on: boolean): Promise<void> =>
    rabbitmqctl("set_vm_memory_high_watermark", on ? "0.00001" : "0.4");
  return { version, keepsData: true, address, node, helper: names, memoryAlarm, rabbitmqctl };
}

function environmentOf(
  directory: string,
  ports: { distributionPort: number; namesPort: number },
): Record<string, string> {
  return {
    PATH: process.env["PATH"] ?? "/usr/bin:/bin",
    LANG: "C.UTF-8",
    HOME: directory,
    ERL_EPMD_PORT: String(ports.namesPort),
    ERL_EPMD_ADDRESS: "127.0.0.1",
    RABBITMQ_NODENAME: `sluice-${ports.distributionPort}@localhost`,
    RABBITMQ_DIST_PORT: String(ports.distributionPort),
    RABBITMQ_CONF_ENV_FILE: join(directory, "environment.conf"),
    RABBITMQ_CONFIG_FILE: join(directory, "rabbitmq.conf"),
    RABBITMQ_ADVANCED_CONFIG_FILE: join(directory, "advanced.config"),
    RABBITMQ_ENABLED_PLUGINS_FILE: join(directory, "enabled_plugins"),
    RABBITMQ_MNESIA_BASE: join(directory, "data"),
    RABBITMQ_LOG_BASE: directory,
    RABBITMQ_PID_FILE: join(directory, "pid"),
    // The script then becomes the Erlang machine, so signals reach the broker itself.
    RUNNING_UNDER_SYSTEMD: "true",
    RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: "-kernel inet_dist_use_interface {127,0,0,1}",
  };
}
