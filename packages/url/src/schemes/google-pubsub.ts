import type { Driver } from "@sluice/core/driver";
import type { GooglePubsubOptions } from "@sluice/google-pubsub";
import { load } from "../load.ts";
import { type ParameterKind, read } from "../parameters.ts";
import { only, type Parts } from "../parts.ts";

/** Options of the driver that a text can hold. */
type Written = Exclude<keyof GooglePubsubOptions, "projectId" | "client">;

const pubsubParameters = {
  prefix: "text",
  endpoint: "text",
  intake: ["stream", "pull"],
  topicRetentionHours: "number",
  leaseSeconds: "number",
  exactlyOnce: "flag",
  retainAcked: "flag",
  retentionDays: "number",
  deliveryLimit: "number",
  heartbeat: "number",
} as const satisfies Record<Written, ParameterKind>;

/** `pubsub://project`; without a project, what the client library finds. */
export async function pubsubDriver(parts: Parts): Promise<Driver> {
  only(parts, [], "use pubsub://project?endpoint=host:port");
  const values = read(parts, pubsubParameters);
  const projectId = parts.hosts[0]?.name;
  const { googlePubsub } = await load(parts.scheme, "@sluice/google-pubsub", () => import("@sluice/google-pubsub"));
  return googlePubsub({ ...values, ...(projectId !== undefined && { projectId }) });
}
