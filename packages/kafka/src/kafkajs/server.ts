import type { Cluster } from "kafkajs";
import { DriverError } from "@sluice/core/driver";
import { brokerOf } from "./cluster.ts";

type Versions = Record<number, { readonly minVersion: number; readonly maxVersion: number }>;

/** Kafka tells its version to nobody; the protocol versions that it speaks narrow it down. */
const listOffsets = 2;
const addRaftVoter = 80;

/** What nothing works without here: record batches with headers, reading up to the last stable offset, idempotent producers. */
const needed: readonly (readonly [name: string, key: number, version: number])[] = [
  ["Produce", 0, 3],
  ["Fetch", 1, 4],
  ["ListOffsets", listOffsets, 2],
  ["FindCoordinator", 10, 1],
  ["InitProducerId", 22, 0],
];

/**
 * Release line of a broker of the cluster.
 * @throws DriverError `UNSUPPORTED` when it is too old
 */
export async function serverOf(cluster: Cluster, where: string): Promise<string> {
  const versions = await (await brokerOf(cluster)).apiVersions();
  refuseOld(versions, where);
  // 4.0 removed the oldest versions of most requests; 3.9 brought the requests that change the controllers.
  if ((versions[listOffsets]?.minVersion ?? 0) >= 1) return "Apache Kafka 4.x";
  return versions[addRaftVoter] ? "Apache Kafka 3.9" : "Apache Kafka older than 3.9";
}

function refuseOld(versions: Versions, where: string): void {
  const lacking = needed.find(([, key, version]) => (versions[key]?.maxVersion ?? -1) < version);
  if (!lacking) return;
  const [name, key, version] = lacking;
  const spoken = versions[key] ? `${name} up to version ${versions[key].maxVersion}, not ${version}` : `no ${name}`;
  const problem = `kafka: ${where} speaks the protocol of Apache Kafka older than 0.11 (${spoken}); use 3.9 or newer`;
  throw new DriverError("UNSUPPORTED", problem);
}
