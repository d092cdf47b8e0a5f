import type { Cluster } from "kafkajs";

/** Kafka tells its version nowhere; the newest protocol version of some requests gives the release that brought it. */
const marks: readonly { readonly api: number; readonly version: number; readonly release: string }[] = [];

export async function serverOf(cluster: Cluster): Promise<string> {
  await cluster.refreshMetadata();
  const [nodeId] = cluster.getNodeIds();
  const versions = nodeId === undefined ? {} : await (await cluster.findBroker({ nodeId: String(nodeId) })).apiVersions();
  const mark = marks.find(({ api, version }) => (versions[api]?.maxVersion ?? -1) >= version);
  return `Apache Kafka ${mark ? mark.release : "(version unknown)"}`;
}
