import type { Driver } from "@sluice/core/driver";
import { load } from "../load.ts";
import { read } from "../parameters.ts";
import { only, type Parts } from "../parts.ts";

const pubsubParameters = {
  prefix: "text",
  endpoint: "text",
  leaseSeconds: "number",
  exactlyOnce: "flag",
  retainAcked: "flag",
  retentionDays: "number",
  deliveryLimit: "number",
  heartbeat: "number",
} as const;

/** `pubsub://project`; without a project, what the client library finds. */
export async function pubsubDriver(parts: Parts): Promise<Driver> {
  only(parts, [], "use pubsub://project?endpoint=host:port");
  const values = read(parts, pubsubParameters);
  const projectId = parts.hosts[0]?.name;
  const { googlePubsub } = await load(parts.scheme, "@sluice/google-pubsub", () => import("@sluice/google-pubsub"));
  return googlePubsub({ ...values, ...(projectId !== undefined && { projectId }) });
}
