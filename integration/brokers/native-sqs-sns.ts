import { readFileSync } from "node:fs";
import { findPackageJSON } from "node:module";
import { join } from "node:path";
import { fits } from "./images.ts";
import { type NativeBroker, startNative } from "./native.ts";
import { freePorts } from "./ports.ts";
import { ManagedProcess } from "./process.ts";
import type { BrokerRequest, RunningBroker } from "./types.ts";

/** SQS and SNS by fauxqs, an npm package, in a process of its own. */
export async function startNativeSqsSns(request: BrokerRequest): Promise<RunningBroker> {
  const version = installedFauxqs();
  if (version === undefined) throw new Error("the package fauxqs is not installed; run: npm ci");
  if (!fits(version, request.version)) throw new Error(`installed is ${version}, not ${request.version}`);
  return startNative(request, (directory) => prepare(directory, version));
}

/** `fauxqs-2.4.1`: a report must not look as if it were Amazon's. */
export function installedFauxqs(): string | undefined {
  const file = packageFile();
  if (file === undefined) return undefined;
  return `fauxqs-${(JSON.parse(readFileSync(file, "utf8")) as { readonly version: string }).version}`;
}

function packageFile(): string | undefined {
  try {
    return findPackageJSON("fauxqs", import.meta.url);
  } catch {
    return undefined;
  }
}

async function prepare(directory: string, version: string): Promise<NativeBroker> {
  const [port = 0] = await freePorts(1);
  const node = new ManagedProcess({
    command: process.execPath,
    args: [join(import.meta.dirname, "fauxqs-child.ts"), String(port)],
    environment: { PATH: process.env["PATH"] },
    directory,
    log: join(directory, "server.log"),
  });
  return { version, keepsData: false, address: { kind: "url", url: `http://127.0.0.1:${port}` }, node };
}
