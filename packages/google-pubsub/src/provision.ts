import type { protos } from "@google-cloud/pubsub";
import { DriverError, type Finding, type ProvisionMode, type Resource, type Runtime, sleep } from "@sluice/core/driver";
import type { Calls } from "./channels.ts";
import { status, statusOf } from "./errors.ts";
import { type Method, methods } from "./methods.ts";
import { shortName, subscriptionPath, topicPath } from "./names.ts";
import { leastDeliveryLimit } from "./options.ts";
import { timestamp } from "./seek.ts";

type NativeSubscription = protos.google.pubsub.v1.ISubscription;

export interface ProvisionParts {
  readonly channels: Calls;
  readonly runtime: Runtime;
  readonly project: string;
  readonly emulator: boolean;
  /** What is known about a subscription now. */
  seen(subscription: NativeSubscription): void;
}

interface Step extends ProvisionParts {
  readonly mode: ProvisionMode;
  readonly signal: AbortSignal;
}

const atOnce = 24;
const tries = 6;
/** The service's own default. */
const fewestAttempts = 5;

/** What a refusal to make it is about: the service does not say which. */
const makingTakes: Readonly<Record<string, string>> = {
  topic: "pubsub.topics.create",
  subscription: "pubsub.subscriptions.create, or pubsub.topics.attachSubscription on its topic",
};

/** n.b. what is left of a subscription whose topic was deleted; a new topic of the old name is not attached. */
const deletedTopic = "_deleted-topic_";

/** Makes or checks topics first, then subscriptions. A finding per resource that is not `ok`. */
export async function provision(
  resources: readonly Resource[],
  mode: ProvisionMode,
  signal: AbortSignal,
  parts: ProvisionParts,
): Promise<readonly Finding[]> {
  if (mode === "assume") return [];
  const step: Step = { ...parts, mode, signal };
  const findings: Finding[] = [];
  for (const kind of ["topic", "subscription"]) {
    const some = resources.filter((resource) => resource.kind === kind);
    const found = await each(some, (resource) =>
      kind === "topic" ? topic(resource, step) : subscription(resource, step),
    );
    findings.push(...found.flat());
  }
  return findings;
}

/** Some at once: a socket takes about a hundred requests, and the service counts administrative ones per minute. */
export async function each<T, R>(items: readonly T[], use: (item: T) => Promise<R>): Promise<readonly R[]> {
  const results: R[] = [];
  const queue = items.entries();
  const worker = async () => {
    for (const [index, item] of queue) results[index] = await use(item);
  };
  await Promise.all(Array.from({ length: Math.min(atOnce, items.length) }, worker));
  return results;
}

async function topic(resource: Resource, step: Step): Promise<readonly Finding[]> {
  const path = topicPath(step.project, resource.name);
  const found = await ask(methods.getTopic, { topic: path }, resource, step);
  if (found === "missing" && step.mode === "create") {
    const seconds = Number(resource.settings["retentionSeconds"] ?? 0);
    const wanted = { name: path, ...(seconds > 0 && { messageRetentionDuration: { seconds } }) };
    return make(methods.createTopic, wanted, resource, step);
  }
  if (found === "missing") return [{ resource, state: "missing", detail: "it does not exist" }];
  return found === "forbidden" ? [forbidden(resource, "pubsub.topics.get")] : [];
}

async function subscription(resource: Resource, step: Step): Promise<readonly Finding[]> {
  const path = subscriptionPath(step.project, resource.name);
  const found = await ask(methods.getSubscription, { subscription: path }, resource, step);
  if (found === "missing" && step.mode === "create") {
    const wanted = toNative(resource, step.project);
    const findings = await make(methods.createSubscription, wanted, resource, step);
    if (findings.some(({ state }) => state === "created")) {
      if (step.emulator) await beginNow(path, step);
      step.seen(wanted);
    }
    return findings;
  }
  if (found === "missing") return [{ resource, state: "missing", detail: "it does not exist" }];
  if (found === "forbidden") return [forbidden(resource, "pubsub.subscriptions.get")];
  step.seen(found);
  return compare(resource, found, step.project);
}

async function make<Request, Response>(
  method: Method<Request, Response>,
  request: Request,
  resource: Resource,
  step: Step,
): Promise<readonly Finding[]> {
  try {
    await again(
      () => step.channels.call(method, request, { doing: doing("make", resource), signal: step.signal }),
      step,
    );
    return [{ resource, state: "created", detail: "it was made" }];
  } catch (error) {
    const code = statusOf(error);
    // Somebody else made it meanwhile.
    if (code === status.alreadyExists) return [];
    if (code === status.permissionDenied) return [forbidden(resource, makingTakes[resource.kind] ?? "")];
    if (code === status.notFound) return [{ resource, state: "missing", detail: "its topic does not exist" }];
    throw error;
  }
}

async function ask<Request, Response>(
  method: Method<Request, Response>,
  request: Request,
  resource: Resource,
  step: Step,
): Promise<Response | "missing" | "forbidden"> {
  try {
    const call = () => step.channels.call(method, request, { doing: doing("look at", resource), signal: step.signal });
    return await again(call, step);
  } catch (error) {
    if (statusOf(error) === status.notFound) return "missing";
    if (statusOf(error) === status.permissionDenied) return "forbidden";
    throw error;
  }
}

/** n.b. an emulator gives a new subscription everything that its topic retains; the service, what is sent from now on. */
export async function beginNow(
  subscription: string,
  { channels, runtime, signal }: Pick<Step, "channels" | "runtime"> & { readonly signal?: AbortSignal },
): Promise<void> {
  const doing = `cannot seek subscription "${shortName(subscription)}"`;
  try {
    await channels.call(methods.seek, { subscription, time: timestamp(runtime.wallMs()) }, { doing, signal });
  } catch (error) {
    // It cannot seek an ordered one.
    if (statusOf(error) !== status.unimplemented) throw error;
  }
}

/** The quota of administrative requests is per minute: a start with thousands of topics may have to wait for it. */
async function again<T>(call: () => Promise<T>, { runtime, signal }: Step): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await call();
    } catch (error) {
      if (statusOf(error) !== status.resourceExhausted || attempt >= tries || signal.aborted) throw error;
      await sleep(runtime, 500 * 2 ** attempt * (0.5 + runtime.random()), signal);
    }
  }
}

/** A resource as the API's subscription. It never expires; the default is after 31 days without a reader. */
export function toNative({ name, settings }: Resource, project: string): NativeSubscription {
  const { deadLetterTopic, maxDeliveryAttempts, filter } = settings;
  return {
    name: subscriptionPath(project, name),
    topic: topicPath(project, String(settings["topic"])),
    ackDeadlineSeconds: Number(settings["ackDeadlineSeconds"]),
    messageRetentionDuration: { seconds: Number(settings["retentionSeconds"]) },
    retainAckedMessages: settings["retainAcked"] === true,
    enableMessageOrdering: settings["ordered"] === true,
    enableExactlyOnceDelivery: settings["exactlyOnce"] === true,
    expirationPolicy: {},
    ...(filter !== undefined && { filter: String(filter) }),
    ...(deadLetterTopic !== undefined && {
      deadLetterPolicy: {
        deadLetterTopic: topicPath(project, String(deadLetterTopic)),
        maxDeliveryAttempts: Number(maxDeliveryAttempts),
      },
    }),
  };
}

/** Order and filter are fixed when a subscription is made; the rest is not ours to change. */
function compare(resource: Resource, found: NativeSubscription, project: string): readonly Finding[] {
  const wanted = toNative(resource, project);
  const findings: Finding[] = [];
  const differs = (field: string, is: unknown, want: unknown) =>
    findings.push({ resource, state: "differs", detail: `${field} is ${String(is)}, wanted ${String(want)}` });
  if (found.topic === deletedTopic || found.detached) {
    differs("topic", found.topic === deletedTopic ? "deleted" : "detached", `${wanted.topic}; delete the subscription`);
  } else if (found.topic !== wanted.topic) differs("topic", found.topic, wanted.topic);
  for (const field of ["enableMessageOrdering", "enableExactlyOnceDelivery"] as const) {
    if ((found[field] ?? false) !== wanted[field]) differs(field, found[field] ?? false, wanted[field]);
  }
  if ((found.filter ?? "") !== (wanted.filter ?? "")) {
    differs("filter", JSON.stringify(found.filter ?? ""), JSON.stringify(wanted.filter ?? ""));
  }
  if (wanted.retainAckedMessages && !found.retainAckedMessages) differs("retainAckedMessages", false, true);
  const losses = [...lossOfTime(wanted, found), ...lossOfPoison(wanted, found)];
  return [...findings, ...losses.map((detail): Finding => ({ resource, state: "loses-data", detail }))];
}

function lossOfTime(wanted: NativeSubscription, found: NativeSubscription): string[] {
  const losses: string[] = [];
  const ttl = Number(found.expirationPolicy?.ttl?.seconds ?? 0);
  if (ttl > 0) {
    losses.push(`it expires with all its messages after ${ttl} s without a reader; set its expiration to never`);
  }
  const keeps = Number(wanted.messageRetentionDuration?.seconds);
  const has = Number(found.messageRetentionDuration?.seconds ?? keeps);
  if (has < keeps) losses.push(`messages older than ${has} s are deleted, wanted ${keeps} s`);
  return losses;
}

/** n.b. The service counts deliveries only with a policy; and one with few attempts takes messages before core can say why. */
function lossOfPoison(wanted: NativeSubscription, found: NativeSubscription): string[] {
  const topic = wanted.deadLetterPolicy?.deadLetterTopic;
  if (!topic) return [];
  const policy = found.deadLetterPolicy;
  if (!policy?.deadLetterTopic) {
    return [`it has no dead-letter policy, so a message that kills its readers is tried for ever; set it to ${topic}`];
  }
  const losses: string[] = [];
  if (policy.deadLetterTopic !== topic)
    losses.push(`its dead letters go to ${policy.deadLetterTopic}, wanted ${topic}`);
  const most = policy.maxDeliveryAttempts || fewestAttempts;
  if (most < leastDeliveryLimit) losses.push(`its maxDeliveryAttempts is ${most}, use ${leastDeliveryLimit} or more`);
  return losses;
}

function forbidden(resource: Resource, permission: string): Finding {
  return { resource, state: "forbidden", detail: `the service account lacks ${permission}` };
}

function doing(what: string, { kind, name }: Resource): string {
  return `cannot ${what} ${kind} "${name}"`;
}

/** What a receiver has to know of a subscription. */
export interface SubscriptionFacts {
  readonly leaseMs: number;
  readonly exactlyOnce: boolean;
  readonly ordered: boolean;
  readonly retainAcked: boolean;
  /** Nobody may look at it: only reading tells whether it is there, and may be read. */
  readonly assumed?: true;
}

export function factsOf(found: NativeSubscription): SubscriptionFacts {
  return {
    leaseMs: 1_000 * (found.ackDeadlineSeconds || 10),
    exactlyOnce: found.enableExactlyOnceDelivery ?? false,
    ordered: found.enableMessageOrdering ?? false,
    retainAcked: found.retainAckedMessages ?? false,
  };
}

/** @throws DriverError NOT_FOUND naming it, or why it cannot be looked at. `undefined`: nobody may look. */
export async function lookUp(path: string, name: string, channels: Calls): Promise<SubscriptionFacts | undefined> {
  try {
    const doing = `cannot look at subscription "${name}"`;
    const found = await channels.call(methods.getSubscription, { subscription: path }, { doing });
    if (found.topic !== deletedTopic && !found.detached) return factsOf(found);
    throw new DriverError(
      "MISMATCH",
      `google-pubsub: the topic of subscription "${name}" was deleted; delete the subscription too, so that both can be made again`,
    );
  } catch (error) {
    if (statusOf(error) === status.permissionDenied) return undefined;
    if (statusOf(error) !== status.notFound) throw error;
    throw new DriverError(
      "NOT_FOUND",
      `google-pubsub: subscription "${name}" does not exist; create it, or connect with provision: 'create'`,
      { cause: error },
    );
  }
}
