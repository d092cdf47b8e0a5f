import { CreateTopicCommand, GetTopicAttributesCommand } from "@aws-sdk/client-sns";
import { DriverError, type Finding, type Resource } from "@sluice/core/driver";
import { call } from "./call.ts";
import { created, differs, missing, unlessMissing, type Work } from "./findings.ts";

/** Settings that change nothing of what a reader or a writer sees; emulators do not know all of them. */
const compared = ["FifoTopic", "ContentBasedDeduplication"];

export async function provisionTopic(resource: Resource, work: Work): Promise<Finding | undefined> {
  const { directory, mode } = work;
  const topic = String(resource.settings["topic"]);
  const arn = await unlessMissing(directory.arn(resource.name));
  const current = arn === undefined ? undefined : await attributes(arn, work);
  if (current && arn !== undefined) {
    directory.learnTopic(topic, resource.name, arn);
    const differences = compared.flatMap((name) => {
      const wanted = String(resource.settings[name] ?? false);
      return (current[name] ?? "false") === wanted ? [] : [`${name} is ${current[name]}, wanted ${wanted}`];
    });
    return differences.length > 0 ? differs(resource, differences) : undefined;
  }
  const other = await otherwise(resource, topic, work);
  if (other) return other;
  if (mode === "verify") return missing(resource);
  const made = await create(resource, work);
  directory.learnTopic(topic, resource.name, made);
  return created(resource);
}

async function attributes(
  arn: string,
  { clients, runtime, signal }: Work,
): Promise<Record<string, string> | undefined> {
  const doing = `cannot look at topic "${arn}"`;
  const answer = await unlessMissing(
    call({ runtime, doing, signal }, (options) =>
      clients.calls.sns.send(new GetTopicAttributesCommand({ TopicArn: arn }), options),
    ),
  );
  return answer && (answer.Attributes ?? {});
}

/** Ordered and not are two things on the broker: old publishers would go on sending to one, new readers read the other. */
async function otherwise(resource: Resource, topic: string, work: Work): Promise<Finding | undefined> {
  const fifo = resource.settings["FifoTopic"] === true;
  const name = work.names.topic(topic, !fifo);
  const arn = await unlessMissing(work.directory.arn(name));
  // n.b. Whose rights name topics one by one may not ask for one that is not planned: it cannot be told whether it is there.
  const found = arn !== undefined && (await attributes(arn, work).catch(unlessForbidden));
  if (!found) return undefined;
  const there = fifo ? "is not ordered" : "is ordered";
  return differs(resource, [`topic "${name}" exists and ${there}, declared is the opposite`]);
}

function unlessForbidden(error: unknown): undefined {
  if (!(error instanceof DriverError) || error.code !== "FORBIDDEN") throw error;
}

async function create(resource: Resource, { clients, runtime, signal }: Work): Promise<string> {
  const { topic: _, ...settings } = resource.settings;
  const given = Object.fromEntries(Object.entries(settings).map(([name, value]) => [name, String(value)]));
  const { TopicArn = "" } = await call(
    { runtime, doing: `cannot create topic "${resource.name}"`, signal },
    (options) => clients.calls.sns.send(new CreateTopicCommand({ Name: resource.name, Attributes: given }), options),
  );
  return TopicArn;
}
