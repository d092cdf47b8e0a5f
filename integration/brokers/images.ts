import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { BrokerName } from "./types.ts";

const composeFile = join(import.meta.dirname, "../../docker-compose.yml");

/** Versions that containers and Maven are known to have, newest first; compose names the first. */
const furtherVersions: Record<BrokerName, readonly string[]> = { kafka: ["3.9.2"], rabbitmq: [] };

/** The image of docker-compose.yml, or the same image in another version. */
export function imageOf(broker: BrokerName, version?: string): string {
  const image = composeImage(broker);
  return version === undefined ? image : image.replace(/:[\d.]+/, `:${version}`);
}

/** The version in the image's tag. */
export function composeVersion(broker: BrokerName): string {
  return composeImage(broker).match(/:([\d.]+)/)?.[1] ?? "latest";
}

export function knownVersions(broker: BrokerName): readonly string[] {
  return [composeVersion(broker), ...furtherVersions[broker]];
}

/** `4.3` fits 4.3 and 4.3.6, not 4.30. */
export function fits(version: string, asked: string | undefined): boolean {
  return asked === undefined || version === asked || version.startsWith(`${asked}.`);
}

function composeImage(service: BrokerName): string {
  const text = readFileSync(composeFile, "utf8");
  const section = new RegExp(`^  ${service}:\\n((?:    .*\\n|\\n)*)`, "m").exec(text)?.[1];
  const image = section && /^    image: *(\S+)/m.exec(section)?.[1];
  if (!image) throw new Error(`docker-compose.yml: service "${service}" has no image`);
  return image;
}
