import { DriverError, type Finding, type Resource } from "@sluice/core/driver";
import { each } from "./call.ts";
import type { Work } from "./findings.ts";
import { provisionQueue } from "./provision-queue.ts";
import { provisionSubscription } from "./provision-subscription.ts";
import { provisionTopic } from "./provision-topic.ts";

type Step = (resource: Resource, work: Work) => Promise<Finding | undefined>;

/** What must be there before the next is looked at: a queue names its dead letters, a subscription both its ends. */
const stages: readonly ((resource: Resource) => boolean)[] = [
  ({ kind }) => kind === "topic",
  ({ kind, settings }) => kind === "queue" && settings["deadLetters"] === undefined,
  ({ kind, settings }) => kind === "queue" && settings["deadLetters"] !== undefined,
  ({ kind }) => kind === "subscription",
];

const steps: Readonly<Record<string, Step>> = {
  topic: provisionTopic,
  queue: provisionQueue,
  subscription: provisionSubscription,
};

/** How many are looked at or made at once: each costs two or three calls. */
const width = 16;

/** Makes or checks resources. Findings, in their order, for everything that is not as it was before and right. */
export async function provision(
  resources: readonly Resource[],
  tools: Omit<Work, "policies" | "fresh">,
): Promise<readonly Finding[]> {
  const work: Work = { ...tools, policies: new Map(), fresh: new Set() };
  const stranger = resources.find(({ kind }) => !Object.hasOwn(steps, kind));
  if (stranger) {
    throw new DriverError(
      "CONFIG",
      `sqs-sns: resource kind "${stranger.kind}" of "${stranger.name}" is not known; pass what topology() returned`,
    );
  }
  if (work.mode === "assume") return [];
  const findings = new Map<Resource, Finding>();
  const unusable = new Set<string>();
  for (const stage of stages) {
    await each(resources.filter(stage), width, async (resource) => {
      const needed = [resource.settings["topic"], resource.settings["queue"], resource.settings["deadLetters"]];
      if (needed.some((name) => typeof name === "string" && name !== resource.name && unusable.has(name))) {
        unusable.add(resource.name);
        return;
      }
      const finding = await one(resource, work);
      if (!finding) return;
      findings.set(resource, finding);
      if (finding.state !== "created" && finding.state !== "loses-data") unusable.add(resource.name);
    });
  }
  return resources.flatMap((resource) => findings.get(resource) ?? []);
}

async function one(resource: Resource, work: Work): Promise<Finding | undefined> {
  try {
    return await (steps[resource.kind] as Step)(resource, work); // checked by the caller
  } catch (error) {
    if (!(error instanceof DriverError) || error.code !== "FORBIDDEN") throw error;
    const verb = work.mode === "create" ? "create or read" : "read";
    const detail = `no right to ${verb} ${resource.kind} "${resource.name}": ${error.message}`;
    return { resource, state: "forbidden", detail };
  }
}
