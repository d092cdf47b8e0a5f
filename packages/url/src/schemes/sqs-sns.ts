import type { Driver } from "@sluice/core/driver";
import type { SqsSnsOptions } from "@sluice/sqs-sns";
import { load } from "../load.ts";
import { type ParameterKind, read } from "../parameters.ts";
import { only, type Parts, wrong } from "../parts.ts";

/** Options of the driver that a text can hold. */
type Written = Exclude<keyof SqsSnsOptions, "region" | "credentials" | "clients">;

const sqsParameters = {
  prefix: "text",
  endpoint: "text",
  accountId: "text",
  visibilitySeconds: "number",
  waitSeconds: "number",
  idleRequestsPerSecond: "number",
  pollers: "number",
  maxReceiveCount: "number",
  retentionSeconds: "number",
  maxMessageBytes: "number",
  md5: "flag",
} as const satisfies Record<Written, ParameterKind>;

/** `sqs://region`; without a region, and without keys, what the AWS SDK finds. */
export async function sqsDriver(parts: Parts): Promise<Driver> {
  const { scheme, hosts, username, password } = parts;
  only(parts, ["credentials"], "use sqs://region?endpoint=http://host:port");
  const values = read(parts, sqsParameters);
  if ((username === undefined) !== (password === undefined)) {
    throw wrong(scheme, "it has one of access key and secret key", "use sqs://ACCESSKEY:SECRETKEY@region, or neither");
  }
  const keys = username !== undefined && password !== undefined && { accessKeyId: username, secretAccessKey: password };
  const region = hosts[0]?.name;
  const { sqsSns } = await load(scheme, "@sluice/sqs-sns", () => import("@sluice/sqs-sns"));
  return sqsSns({ ...values, ...(region !== undefined && { region }), ...(keys && { credentials: keys }) });
}
