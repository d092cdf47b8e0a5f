import { execFile } from "node:child_process";
import { access, chmod, constants, mkdir, mkdtemp, rename, rm, stat, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { delimiter, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import type { Log } from "./types.ts";

const run = promisify(execFile);
const policyFile = "/usr/sbin/policy-rc.d";
let installing: Promise<unknown> = Promise.resolve();

export async function isExecutable(path: string): Promise<boolean> {
  return access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
}

/** The program's path by PATH, with the system folders that an unprivileged PATH leaves out. */
export async function findProgram(name: string): Promise<string | undefined> {
  const folders = [...(process.env["PATH"] ?? "").split(delimiter), "/usr/local/sbin", "/usr/sbin"];
  for (const folder of folders) {
    const path = join(folder, name);
    if (folder !== "" && (await isExecutable(path))) return path;
  }
  return undefined;
}

export async function canInstall(): Promise<boolean> {
  return process.getuid?.() === 0 && (await findProgram("apt-get")) !== undefined;
}

/** Installs Debian packages where that is allowed, and says so; rejects with the reason where it is not. */
export function installPackages(packages: readonly string[], log: Log): Promise<void> {
  const turn = installing.then(() => alone(() => install(packages, log)));
  installing = turn.catch(() => {});
  return turn;
}

/** No installation lasts so long: its process is gone. */
const abandonedMs = 900_000;

/** One installation at a time on this machine: test files run side by side, each in a process of its own. */
async function alone(work: () => Promise<void>): Promise<void> {
  await mkdir(cacheFolder(), { recursive: true });
  const lock = join(cacheFolder(), "installing");
  while (
    !(await mkdir(lock).then(
      () => true,
      () => false,
    ))
  ) {
    const { mtimeMs } = await stat(lock).catch(() => ({ mtimeMs: Date.now() }));
    if (Date.now() - mtimeMs > abandonedMs) await rm(lock, { recursive: true, force: true });
    await delay(500);
  }
  try {
    await work();
  } finally {
    await rm(lock, { recursive: true, force: true });
  }
}

async function install(packages: readonly string[], log: Log): Promise<void> {
  const names = packages.join(" ");
  if (!(await canInstall())) {
    throw new Error(`${names} missing, and it can be installed only by root with apt; run: apt-get install ${names}`);
  }
  log(`installing ${names} with apt (once; needs a minute)`);
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  const wait = ["-o", "DPkg::Lock::Timeout=300"];
  const restore = await forbidServices();
  try {
    // Somebody else may hold the lock of the lists right now; the installation decides.
    await run("apt-get", ["update", "-qq"], { env, timeout: 180_000 }).catch((error: unknown) => log(lastLine(error)));
    const options = ["install", "-y", "-qq", "--no-install-recommends", ...wait];
    await run("apt-get", [...options, ...packages], { env, timeout: 600_000, maxBuffer: 64 << 20 });
  } catch (error) {
    throw new Error(`apt-get could not install ${names}: ${lastLine(error)}`, { cause: error });
  } finally {
    await restore();
  }
}

/** A package must not start a system service: we start our own instance. An existing policy is the administrator's. */
async function forbidServices(): Promise<() => Promise<void>> {
  try {
    await writeFile(policyFile, "#!/bin/sh\nexit 101\n", { flag: "wx", mode: 0o755 });
    await chmod(policyFile, 0o755);
  } catch {
    return async () => {};
  }
  return () => rm(policyFile, { force: true });
}

/** Java 17 or newer by JAVA_HOME or PATH, installed if it may be. */
export async function findJava(): Promise<string | undefined> {
  const home = process.env["JAVA_HOME"];
  for (const java of [home && join(home, "bin/java"), await findProgram("java")]) {
    if (java && (await javaVersion(java)) >= 17) return java;
  }
  return undefined;
}

async function javaVersion(java: string): Promise<number> {
  // n.b. `java -version` writes to stderr.
  const text = await run(java, ["-version"]).then(
    ({ stderr }) => stderr,
    () => "",
  );
  return Number(/version "(\d+)/.exec(text)?.[1] ?? 0);
}

export function cacheFolder(): string {
  const base = process.env["XDG_CACHE_HOME"];
  return join(base ? base : join(homedir(), ".cache"), "sluice");
}

export function kafkaIsCached(version: string): Promise<boolean> {
  return isExecutable(join(cacheFolder(), `kafka-${version}`));
}

/** The folder with Kafka's jars, fetched from Maven's repository on first use. */
export async function kafkaJars(version: string, log: Log): Promise<string> {
  const folder = join(cacheFolder(), `kafka-${version}`);
  if (await isExecutable(folder)) return folder;
  if (!(await findProgram("mvn"))) await installPackages(["maven", "default-jre-headless"], log);
  await mkdir(cacheFolder(), { recursive: true });
  // Filled aside and renamed when complete: others at the same time see all or nothing.
  const aside = await mkdtemp(`${folder}.part-`);
  try {
    log(`fetching Kafka ${version} with Maven into ${folder} (once; 43 MB)`);
    await writeFile(join(aside, "pom.xml"), kafkaPom(version));
    const goal = ["dependency:copy-dependencies", "-DincludeScope=runtime", `-DoutputDirectory=${join(aside, "jars")}`];
    await run("mvn", ["-q", "-B", "-f", join(aside, "pom.xml"), ...goal], { timeout: 600_000, maxBuffer: 64 << 20 });
    await rename(join(aside, "jars"), folder).catch(async (error: unknown) => {
      if (!(await isExecutable(folder))) throw error;
    });
  } catch (error) {
    throw new Error(`Maven could not fetch org.apache.kafka:kafka_2.13:${version}: ${lastLine(error)}`, {
      cause: error,
    });
  } finally {
    await rm(aside, { recursive: true, force: true });
  }
  return folder;
}

function kafkaPom(version: string): string {
  const dependency = (group: string, artifact: string, of: string): string =>
    `<dependency><groupId>${group}</groupId><artifactId>${artifact}</artifactId><version>${of}</version></dependency>`;
  return `<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>local</groupId><artifactId>kafka</artifactId><version>1</version><dependencies>
${dependency("org.apache.kafka", "kafka_2.13", version)}
${dependency("org.slf4j", "slf4j-simple", "1.7.36")}
</dependencies></project>\n`;
}

/** The telling line of a failed command: Maven's first ERROR, else the last line. */
export function lastLine(error: unknown): string {
  const { stdout = "", stderr = "", message } = error as { stdout?: string; stderr?: string; message: string };
  const lines = `${stderr}\n${stdout}`.split("\n").filter((line) => line.trim() !== "");
  return lines.find((line) => line.includes("[ERROR]") || line.startsWith("E:")) ?? lines.at(-1) ?? message;
}
