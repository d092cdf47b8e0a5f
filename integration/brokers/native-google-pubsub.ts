import { access, readdir, realpath } from "node:fs/promises";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { fits } from "./images.ts";
import { findProgram } from "./install.ts";
import { type NativeBroker, startNative } from "./native.ts";
import { javaOrInstall } from "./native-kafka.ts";
import { freePorts } from "./ports.ts";
import { ManagedProcess } from "./process.ts";
import type { BrokerRequest, Log, RunningBroker } from "./types.ts";

export const emulatorMissing =
  "no Pub/Sub emulator in a Google Cloud SDK; run: gcloud components install pubsub-emulator, or set CLOUDSDK_ROOT";

/** Google's own emulator from the Cloud SDK of this machine. It keeps everything in memory. */
export async function startNativeGooglePubsub(request: BrokerRequest, log: Log): Promise<RunningBroker> {
  const found = await findEmulator();
  if (!found) throw new Error(emulatorMissing);
  if (!fits(found.version, request.version)) throw new Error(`installed is ${found.version}, not ${request.version}`);
  const java = await javaOrInstall(log);
  return startNative(request, (directory) => prepare(java, found, directory));
}

export interface Emulator {
  readonly jar: string;
  readonly version: string;
}

/** Looks where CLOUDSDK_ROOT says, where `gcloud` is, and where the SDK is usually put. */
export async function findEmulator(): Promise<Emulator | undefined> {
  const gcloud = await findProgram("gcloud");
  const roots = [
    process.env["CLOUDSDK_ROOT"],
    // A link leads from the PATH to <root>/bin/gcloud.
    gcloud && join(dirname(await realpath(gcloud)), ".."),
    "/usr/lib/google-cloud-sdk",
    "/usr/local/google-cloud-sdk",
    "/opt/google-cloud-sdk",
    "/snap/google-cloud-sdk/current",
    join(homedir(), "google-cloud-sdk"),
  ];
  for (const root of roots) {
    const emulator = root ? await emulatorIn(root) : undefined;
    if (emulator) return emulator;
  }
  return undefined;
}

async function emulatorIn(root: string): Promise<Emulator | undefined> {
  const folder = join(root, "platform/pubsub-emulator/lib");
  const files = await readdir(folder).catch(() => []);
  for (const file of files) {
    const version = /^cloud-pubsub-emulator-([\d.]+)-all\.jar$/.exec(file)?.[1];
    const jar = join(folder, file);
    if (
      version &&
      (await access(jar).then(
        () => true,
        () => false,
      ))
    )
      return { jar, version };
  }
  return undefined;
}

async function prepare(java: string, { jar, version }: Emulator, directory: string): Promise<NativeBroker> {
  const [port = 0] = await freePorts(1);
  const node = new ManagedProcess({
    command: java,
    args: ["-Xmx512m", "-XX:+ExitOnOutOfMemoryError", "-jar", jar, "--host=127.0.0.1", `--port=${port}`],
    environment: process.env,
    directory,
    log: join(directory, "server.log"),
  });
  return { version, keepsData: false, address: { kind: "url", url: `http://127.0.0.1:${port}` }, node };
}
