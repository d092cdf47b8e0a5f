import type { Cluster } from "kafkajs";
import { brokerOf } from "./cluster.ts";

/** Kafka tells its version to nobody; the protocol versions that it speaks narrow it down. */
const listOffsets = 2;
const addRaftVoter = 80;

/** Release line of a broker of the cluster. */
export async function serverOf(cluster: Cluster): Promise<string> {
  const versions = await (await brokerOf(cluster)).apiVersions();
  // 4.0 removed the oldest versions of most requests; 3.9 brought the requests that change the controllers.
  if ((versions[listOffsets]?.minVersion ?? 0) >= 1) return "Apache Kafka 4.x";
  return versions[addRaftVoter] ? "Apache Kafka 3.9" : "Apache Kafka older than 3.9";
}
