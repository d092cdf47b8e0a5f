import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { composeVersion } from "./images.ts";
import { findJava, installPackages, kafkaJars } from "./install.ts";
import { kafkaSettings } from "./kafka-settings.ts";
import { type NativeBroker, startNative } from "./native.ts";
import { freePorts } from "./ports.ts";
import { ManagedProcess } from "./process.ts";
import type { BrokerRequest, Log, RunningBroker } from "./types.ts";

const run = promisify(execFile);

/** Kafka from its Maven artefacts, on the machine's Java: one KRaft node in a temporary folder. */
export async function startNativeKafka(request: BrokerRequest, log: Log): Promise<RunningBroker> {
  const version = request.version ?? composeVersion("kafka");
  const java = await javaOrInstall(log);
  const jars = await kafkaJars(version, log);
  return startNative(request, (directory) => prepare(java, jars, directory, version));
}

/** Java 17 or newer, installed if it may be. */
export async function javaOrInstall(log: Log): Promise<string> {
  const found = await findJava();
  if (found) return found;
  await installPackages(["default-jre-headless"], log);
  const java = await findJava();
  if (!java) throw new Error("Java 17 or newer is needed; set JAVA_HOME or put java into the PATH");
  return java;
}

async function prepare(java: string, jars: string, directory: string, version: string): Promise<NativeBroker> {
  const [clientPort = 0, internalPort = 0, controllerPort = 0, proxiedPort = 0, proxyPort = 0, securedPort = 0] =
    await freePorts(6);
  const advertised = `127.0.0.1:${clientPort}`;
  const proxied = { port: proxiedPort, advertised: `127.0.0.1:${proxyPort}` };
  const secured = { port: securedPort, advertised: `127.0.0.1:${securedPort}` };
  const settings = {
    ...kafkaSettings({ bind: "127.0.0.1", clientPort, internalPort, controllerPort, advertised, proxied, secured }),
    "controller.quorum.bootstrap.servers": `127.0.0.1:${controllerPort}`,
    "log.dirs": join(directory, "data"),
  };
  const file = join(directory, "server.properties");
  await writeFile(
    file,
    Object.entries(settings)
      .map(([name, value]) => `${name}=${value}\n`)
      .join(""),
  );
  const classes = ["-cp", join(jars, "*")];
  // n.b. one in 64 begins with "-": as a word of its own it would be taken for an option.
  const clusterId = randomBytes(16).toString("base64url");
  const format = ["kafka.tools.StorageTool", "format", "--standalone", `--cluster-id=${clusterId}`, "-c", file];
  // TieredCompilation level 1 halves the start of such a short-lived program.
  await run(java, ["-XX:TieredStopAtLevel=1", ...classes, ...format], { timeout: 120_000 });
  const node = new ManagedProcess({
    command: java,
    args: ["-Xmx512m", "-Xms256m", "-XX:+ExitOnOutOfMemoryError", ...classes, "kafka.Kafka", file],
    environment: process.env,
    directory,
    log: join(directory, "server.log"),
  });
  return {
    version,
    keepsData: true,
    address: { kind: "brokers", brokers: [advertised] },
    variables: {
      KAFKA_PROXIED: `127.0.0.1:${proxiedPort}`,
      KAFKA_PROXY_PORT: String(proxyPort),
      KAFKA_SECURED: secured.advertised,
    },
    node,
  };
}
