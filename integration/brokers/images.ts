import { readFileSync } from "node:fs";
import { join } from "node:path";
import { kinds } from "./kinds.ts";
import type { BrokerName } from "./types.ts";

const composeFile = join(import.meta.dirname, "../../docker-compose.yml");

/** The image of docker-compose.yml, or the same image in another version. */
export function imageOf(broker: BrokerName, version?: string): string {
  const service = serviceOf(broker, version);
  const image = composeImage(service);
  const tag = version === service ? undefined : version?.replace(`${service}-`, "");
  return tag === undefined ? image : image.replace(/:[\w.]+/, `:${tag}`);
}

/** The version in the tag of the broker's default image. */
export function composeVersion(broker: BrokerName): string {
  return versionOf(broker, kinds[broker].services[0]);
}

/** What containers are known to have, the default first. */
export function knownVersions(broker: BrokerName): readonly string[] {
  const { services, furtherVersions } = kinds[broker];
  return [...services.map((service) => versionOf(broker, service)), ...furtherVersions];
}

/** `4.3` fits 4.3 and 4.3.6, not 4.30; `valkey` fits valkey-9.1. */
export function fits(version: string, asked: string | undefined): boolean {
  return asked === undefined || version === asked || version.startsWith(`${asked}.`) || version.startsWith(`${asked}-`);
}

/** The default service, or the one that the version names: `valkey-9.1`. */
function serviceOf(broker: BrokerName, version = ""): string {
  const { services } = kinds[broker];
  return services.find((name) => name !== broker && fits(version, name)) ?? services[0];
}

function versionOf(broker: BrokerName, service: string): string {
  const tag = /:([\w.]+)/.exec(composeImage(service))?.[1] ?? "latest";
  return service === broker ? tag : `${service}-${tag}`;
}

function composeImage(service: string): string {
  const text = readFileSync(composeFile, "utf8");
  const section = new RegExp(`^  ${service}:\\n((?:    .*\\n|\\n)*)`, "m").exec(text)?.[1];
  const image = section && /^    image: *(\S+)/m.exec(section)?.[1];
  if (!image) throw new Error(`docker-compose.yml: service "${service}" has no image`);
  return image;
}
