import {
  GetSubscriptionAttributesCommand,
  ListSubscriptionsByTopicCommand,
  SubscribeCommand,
} from "@aws-sdk/client-sns";
import { SetQueueAttributesCommand } from "@aws-sdk/client-sqs";
import type { Finding, Resource } from "@sluice/core/driver";
import { call } from "./call.ts";
import { allowTopic, sameJson } from "./policy.ts";
import { created, differs, losesData, missing, type Work } from "./findings.ts";
import { queueAttributes } from "./provision-queue.ts";

export async function provisionSubscription(resource: Resource, work: Work): Promise<Finding | undefined> {
  const { directory, mode } = work;
  const { topic, queue, deadLetters } = resource.settings;
  const topicArn = await directory.arn(String(topic));
  const queueArn = await directory.queueArn(String(queue));
  const losses: string[] = [];
  for (const name of [queue, deadLetters]) {
    if (typeof name !== "string") continue;
    const allowed = await allow(name, topicArn, work);
    if (!allowed) losses.push(`the policy of queue "${name}" lets nothing of topic "${String(topic)}" in`);
  }
  const lost = losesData(resource, losses);
  if (lost) return lost;
  // A queue that was made a moment ago has none, or an old one of ours that is made again by the same call.
  const arn = work.fresh.has(String(queue)) ? undefined : await find(topicArn, queueArn, work);
  if (arn !== undefined) {
    directory.learnReader(topicArn);
    return compare(arn, resource, work);
  }
  if (mode === "verify") return missing(resource);
  await subscribe(topicArn, queueArn, attributesOf(resource, await arnOf(deadLetters, work)), work);
  directory.learnReader(topicArn);
  return created(resource);
}

async function arnOf(name: unknown, { directory }: Work): Promise<string | undefined> {
  return typeof name === "string" ? directory.queueArn(name) : undefined;
}

/** Lets the topic send to the queue; other statements of its policy stay. Answers false when it may not and we only look. */
async function allow(name: string, topicArn: string, work: Work): Promise<boolean> {
  const { clients, directory, runtime, signal, mode, policies } = work;
  const { url } = await directory.queue(name);
  const current = policies.has(name) ? policies.get(name) : (await queueAttributes(url, name, work))?.["Policy"];
  const policy = allowTopic(current, await directory.queueArn(name), topicArn);
  if (policy === undefined) return true;
  if (mode !== "create") return false;
  policies.set(name, policy);
  await call({ runtime, doing: `cannot set the policy of queue "${name}"`, signal }, (options) =>
    clients.calls.sqs.send(new SetQueueAttributesCommand({ QueueUrl: url, Attributes: { Policy: policy } }), options),
  );
  return true;
}

async function find(topicArn: string, queueArn: string, work: Work): Promise<string | undefined> {
  const { clients, runtime, signal } = work;
  let next: string | undefined;
  do {
    const token = next;
    const { Subscriptions = [], NextToken } = await call(
      { runtime, doing: `cannot list the subscriptions of "${topicArn}"`, signal },
      (options) =>
        clients.calls.sns.send(
          new ListSubscriptionsByTopicCommand({ TopicArn: topicArn, ...(token !== undefined && { NextToken: token }) }),
          options,
        ),
    );
    const found = Subscriptions.find(({ Endpoint, SubscriptionArn }) => {
      return Endpoint === queueArn && SubscriptionArn?.startsWith("arn:") === true;
    });
    if (found) return found.SubscriptionArn;
    next = NextToken;
  } while (next !== undefined && next !== "");
  return undefined;
}

/**
 * What a message's way depends on. A filter that only the reader has is no difference: it looks itself. n.b. A filter that is
 * changed takes up to fifteen minutes, so nobody changes it in passing.
 */
async function compare(arn: string, resource: Resource, work: Work): Promise<Finding | undefined> {
  const { clients, runtime, signal } = work;
  const { Attributes = {} } = await call(
    { runtime, doing: `cannot look at subscription "${arn}"`, signal },
    (options) => clients.calls.sns.send(new GetSubscriptionAttributesCommand({ SubscriptionArn: arn }), options),
  );
  const raw = Attributes["RawMessageDelivery"] ?? "false";
  if (raw !== "true") return differs(resource, [`RawMessageDelivery is ${raw}, wanted true`]);
  const current = Attributes["FilterPolicy"];
  const wanted = resource.settings["FilterPolicy"];
  const filters = current !== undefined && current !== "{}" && !sameJson(current, String(wanted));
  if (filters && wanted !== undefined) return differs(resource, [`FilterPolicy is ${current}, wanted ${wanted}`]);
  return losesData(resource, [
    ...(filters ? [`it lets only ${current} pass, declared is no filter`] : []),
    ...lossOfRejects(resource, Attributes["RedrivePolicy"]),
  ]);
}

/** n.b. What a queue refuses for its policy, key or size is not tried again, and neither side is told. */
function lossOfRejects({ settings }: Resource, policy = ""): string[] {
  const { deadLetters } = settings;
  if (typeof deadLetters !== "string" || policy.includes("deadLetterTargetArn")) return [];
  return [`it has no redrive policy, so what the queue refuses is dropped; let "${deadLetters}" take it`];
}

function attributesOf({ settings }: Resource, deadLetterArn: string | undefined): Record<string, string> {
  const { FilterPolicy, FilterPolicyScope } = settings;
  return {
    RawMessageDelivery: "true",
    ...(FilterPolicy !== undefined && {
      FilterPolicy: String(FilterPolicy),
      FilterPolicyScope: String(FilterPolicyScope),
    }),
    // What SNS cannot deliver (the queue is gone, its policy was changed) it gives up at once, unless it has a place for it.
    ...(deadLetterArn !== undefined && { RedrivePolicy: JSON.stringify({ deadLetterTargetArn: deadLetterArn }) }),
  };
}

/** Resolves to the subscription's arn. */
export async function subscribe(
  topicArn: string,
  queueArn: string,
  attributes: Record<string, string>,
  { clients, runtime, signal }: Pick<Work, "clients" | "runtime" | "signal">,
): Promise<string> {
  const { SubscriptionArn = "" } = await call(
    { runtime, doing: `cannot subscribe "${queueArn}" to "${topicArn}"`, signal },
    (options) =>
      clients.calls.sns.send(
        new SubscribeCommand({
          TopicArn: topicArn,
          Protocol: "sqs",
          Endpoint: queueArn,
          Attributes: attributes,
          ReturnSubscriptionArn: true,
        }),
        options,
      ),
  );
  return SubscriptionArn;
}
