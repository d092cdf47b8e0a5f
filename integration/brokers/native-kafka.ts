import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { composeVersion } from "./images.ts";
import { findJava, installPackages, kafkaJars } from "./install.ts";
import { kafkaSettings } from "./kafka-settings.ts";
import { controlOf, orUndo, temporaryFolder, untilServing } from "./native.ts";
import { freePorts } from "./ports.ts";
import { ManagedProcess } from "./process.ts";
import type { BrokerAddress, BrokerRequest, Log, RunningBroker } from "./types.ts";

const run = promisify(execFile);

/** Kafka from its Maven artefacts, on the machine's Java: one KRaft node in a temporary folder. */
export async function startNativeKafka(request: BrokerRequest, log: Log): Promise<RunningBroker> {
  const version = request.version ?? composeVersion("kafka");
  const java = await javaOrInstall(log);
  const jars = await kafkaJars(version, log);
  const since = Date.now();
  const folder = await temporaryFolder("kafka");
  return orUndo(folder.remove, async () => {
    const { address, node } = await prepare(java, jars, folder.path);
    const stop = async (): Promise<void> => {
      await node.stop("kill");
      await folder.remove();
    };
    await orUndo(stop, async () => {
      await node.start();
      await untilServing(node, address);
    });
    return {
      broker: "kafka",
      provider: "native",
      version,
      environment: "broker",
      address,
      environmentVariables: { KAFKA_BROKERS: address.brokers.join(",") },
      readyAfter: Date.now() - since,
      control: controlOf(node, address),
      local: { pid: () => node.pid, directory: folder.path, log: node.spec.log },
      stop,
    };
  });
}

async function javaOrInstall(log: Log): Promise<string> {
  const found = await findJava();
  if (found) return found;
  await installPackages(["default-jre-headless"], log);
  const java = await findJava();
  if (!java) throw new Error("Java 17 or newer is needed; set JAVA_HOME or put java into the PATH");
  return java;
}

interface Prepared {
  readonly address: Extract<BrokerAddress, { kind: "brokers" }>;
  readonly node: ManagedProcess;
}

async function prepare(java: string, jars: string, directory: string): Promise<Prepared> {
  const [clientPort = 0, internalPort = 0, controllerPort = 0] = await freePorts(3);
  const advertised = `127.0.0.1:${clientPort}`;
  const settings = {
    ...kafkaSettings({ bind: "127.0.0.1", clientPort, internalPort, controllerPort, advertised }),
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
  const clusterId = randomBytes(16).toString("base64url");
  const format = ["kafka.tools.StorageTool", "format", "--standalone", "-t", clusterId, "-c", file];
  // TieredCompilation level 1 halves the start of such a short-lived program.
  await run(java, ["-XX:TieredStopAtLevel=1", ...classes, ...format], { timeout: 120_000 });
  const node = new ManagedProcess({
    command: java,
    args: ["-Xmx512m", "-Xms256m", "-XX:+ExitOnOutOfMemoryError", ...classes, "kafka.Kafka", file],
    environment: process.env,
    directory,
    log: join(directory, "server.log"),
  });
  return { address: { kind: "brokers", brokers: [advertised] }, node };
}
