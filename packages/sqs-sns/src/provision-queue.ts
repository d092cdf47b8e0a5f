import { CreateQueueCommand, GetQueueAttributesCommand, type QueueAttributeName } from "@aws-sdk/client-sqs";
import { DriverError, type Finding, type Resource } from "@sluice/core/driver";
import { call } from "./call.ts";
import { allowTopic } from "./policy.ts";
import { created, differs, losesData, missing, unlessMissing, type Work } from "./findings.ts";

/** Settings that say what a queue is. Others may be tuned by hand, as long as nothing is lost by it. */
const compared: readonly QueueAttributeName[] = ["FifoQueue", "ContentBasedDeduplication"];

type Attributes = Partial<Record<string, string>>;

export async function provisionQueue(resource: Resource, work: Work): Promise<Finding | undefined> {
  const { directory, mode } = work;
  const found = await unlessMissing(directory.queue(resource.name));
  const current = found && (await queueAttributes(found.url, resource.name, work));
  if (current) {
    work.policies.set(resource.name, current["Policy"]);
    return compare(resource, current, work);
  }
  if (found) directory.forgetQueue(resource.name);
  if (mode === "verify") return missing(resource);
  try {
    directory.learnQueue(resource.name, await create(resource, work));
    return created(resource);
  } catch (error) {
    if (!(error instanceof DriverError) || error.code !== "MISMATCH") throw error;
    return differs(resource, [error.message]);
  }
}

export async function queueAttributes(
  url: string,
  name: string,
  { clients, runtime, signal }: Pick<Work, "clients" | "runtime" | "signal">,
): Promise<Attributes | undefined> {
  const answer = await unlessMissing(
    call({ runtime, doing: `cannot look at queue "${name}"`, signal }, (options) =>
      clients.calls.sqs.send(new GetQueueAttributesCommand({ QueueUrl: url, AttributeNames: ["All"] }), options),
    ),
  );
  return answer && (answer.Attributes ?? {});
}

function compare(resource: Resource, current: Attributes, work: Work): Finding | undefined {
  const differences = compared.flatMap((name) => {
    const wanted = String(resource.settings[name] ?? false);
    return (current[name] ?? "false") === wanted ? [] : [`${name} is ${current[name]}, wanted ${wanted}`];
  });
  if (differences.length > 0) return differs(resource, differences);
  return losesData(resource, [
    ...lossOfTime(resource, current),
    ...lossOfPoison(resource, current),
    ...lossOfSize(current, work),
    ...lossOfKey(resource, current),
  ]);
}

/** n.b. What SNS cannot deliver because of its size it drops. */
function lossOfSize({ MaximumMessageSize }: Attributes, { maxMessageBytes }: Work): string[] {
  const most = Number(MaximumMessageSize ?? maxMessageBytes);
  return most < maxMessageBytes ? [`its MaximumMessageSize is ${most}, a topic takes ${maxMessageBytes}`] : [];
}

/** n.b. Nobody can change the policy of the account's own key; that of others is not ours to read. */
function lossOfKey({ settings }: Resource, { KmsMasterKeyId = "" }: Attributes): string[] {
  if (typeof settings["topic"] !== "string" || !/(^|:)alias\/aws\/sqs$/.test(KmsMasterKeyId)) return [];
  const use = "use a key of yours that does, or SqsManagedSseEnabled";
  return [
    `its key ${KmsMasterKeyId} does not give SNS kms:GenerateDataKey* and kms:Decrypt, so SNS drops everything; ${use}`,
  ];
}

function lossOfTime(resource: Resource, current: Attributes): string[] {
  const wanted = Number(resource.settings["MessageRetentionPeriod"]);
  const has = Number(current["MessageRetentionPeriod"] ?? wanted);
  return has < wanted ? [`messages older than ${has} s are deleted, wanted ${wanted} s`] : [];
}

/** n.b. A limit that core's own attempts can reach takes messages away before core can say why. */
function lossOfPoison(resource: Resource, current: Attributes): string[] {
  const { deadLetters } = resource.settings;
  if (typeof deadLetters !== "string") return [];
  const policy = current["RedrivePolicy"];
  if (policy === undefined) return ["it has no redrive policy, so a message that kills its readers is tried for ever"];
  const most = Number((JSON.parse(policy) as { readonly maxReceiveCount?: unknown }).maxReceiveCount);
  return most < 20 ? [`its maxReceiveCount is ${most}, use 20 or more`] : [];
}

async function create(resource: Resource, work: Work): Promise<string> {
  const { clients, directory, runtime, signal, policies, fresh } = work;
  const { deadLetters, maxReceiveCount, topic, ...settings } = resource.settings;
  const given: Record<string, string> = {};
  for (const [name, value] of Object.entries(settings)) {
    // A queue that is not FIFO must not be told so.
    if (value !== false || settings["FifoQueue"] === true) given[name] = String(value);
  }
  if (typeof deadLetters === "string") {
    const deadLetterTargetArn = await directory.queueArn(deadLetters);
    given["RedrivePolicy"] = JSON.stringify({ deadLetterTargetArn, maxReceiveCount });
  }
  if (typeof topic === "string") {
    const arns = [await directory.queueArn(resource.name), await directory.arn(topic)] as const;
    given["Policy"] = allowTopic(undefined, ...arns) ?? "";
    policies.set(resource.name, given["Policy"]);
  }
  const { QueueUrl = "" } = await call(
    { runtime, doing: `cannot create queue "${resource.name}"`, signal },
    (options) =>
      clients.calls.sqs.send(new CreateQueueCommand({ QueueName: resource.name, Attributes: given }), options),
  );
  fresh.add(resource.name);
  return QueueUrl;
}
