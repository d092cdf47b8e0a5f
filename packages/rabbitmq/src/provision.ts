import type { Channel } from "amqplib";
import { DriverError, type Finding, type ProvisionMode, type Resource } from "@sluice/core/driver";
import { type Ask, exists } from "./channel.ts";
import { inequivalent, replyCode, translate } from "./errors.ts";
import type { Groups } from "./groups.ts";
import { shardName } from "./routing.ts";

interface Work {
  readonly groups: Groups;
  readonly mode: ProvisionMode;
  readonly signal: AbortSignal;
}

interface Asking extends Work {
  readonly ask: Ask;
  /** What was looked for so far: a look at what is missing costs a channel. */
  readonly seen: Map<string, boolean>;
}

/** What must be known or there before the next kind is looked at. */
const stages: readonly (readonly string[])[] = [["shards"], ["exchange", "queue"], ["binding"]];

/** Makes or checks resources. Findings, in their order, for everything that is not as it was before and right. */
export async function provision(resources: readonly Resource[], work: Work): Promise<readonly Finding[]> {
  const known = stages.flat();
  const stranger = resources.find(({ kind }) => !known.includes(kind));
  if (stranger) {
    throw new DriverError(
      "CONFIG",
      `rabbitmq: resource kind "${stranger.kind}" of "${stranger.name}" is not known; pass what topology() returned`,
    );
  }
  if (work.mode === "assume") {
    work.groups.learn(resources);
    return [];
  }
  const findings = new Map<Resource, Finding>();
  // Nothing is bound to what is missing or not ours.
  const unusable = new Set<string>();
  const seen = new Map<string, boolean>();
  for (const kinds of stages) {
    const stage = resources.filter(({ kind }) => kinds.includes(kind));
    await work.groups.each(stage, async (resource, ask) => {
      const finding = await one(resource, { ...work, ask, seen }, unusable);
      if (!finding) return;
      findings.set(resource, finding);
      if (finding.state !== "created") unusable.add(label(resource.kind, resource.name));
    });
  }
  work.groups.learn(resources.filter(({ kind, name }) => !unusable.has(label(kind, name))));
  return resources.flatMap((resource) => findings.get(resource) ?? []);
}

/** A group with another number of shards gets no further queues. */
function belongsTo(unusable: ReadonlySet<string>, queue: string): boolean {
  return unusable.has(label("shards", queue)) || unusable.has(label("shards", queue.slice(0, queue.lastIndexOf("."))));
}

async function one(resource: Resource, work: Asking, unusable: Set<string>): Promise<Finding | undefined> {
  if (resource.kind === "shards") return checkShards(resource, work);
  if (resource.kind === "binding") return bind(resource, work, unusable);
  const { name } = resource;
  const kind = resource.kind === "queue" ? "queue" : "exchange";
  if (kind === "queue" && belongsTo(unusable, name)) {
    unusable.add(label(kind, name));
    return undefined;
  }
  const present = await isThere(kind, name, work);
  if (!present && work.mode === "verify") {
    return {
      resource,
      state: "missing",
      detail: `${kind} "${name}" does not exist; create it, or connect with provision: 'create'`,
    };
  }
  try {
    // Declaring what exists compares its settings and changes nothing.
    await work.ask(`cannot declare ${kind} "${name}"`, (channel) => declare(channel, resource), work.signal);
  } catch (error) {
    return refused(resource, error, present);
  }
  return present ? undefined : { resource, state: "created", detail: `${kind} "${name}" was created` };
}

async function isThere(kind: "queue" | "exchange", name: string, { ask, seen, signal }: Asking): Promise<boolean> {
  const known = seen.get(label(kind, name));
  if (known !== undefined) return known;
  const found = await exists(ask, kind, name, signal);
  seen.set(label(kind, name), found);
  return found;
}

function declare(channel: Channel, { kind, name, settings }: Resource): Promise<unknown> {
  const given = Object.fromEntries(Object.entries(settings).filter(([setting]) => setting.startsWith("x-")));
  if (kind === "queue") return channel.assertQueue(name, { durable: true, arguments: given });
  return channel.assertExchange(name, String(settings["type"]), { durable: true, arguments: given });
}

function refused(resource: Resource, error: unknown, present: boolean): Finding | undefined {
  const { kind, name } = resource;
  switch (replyCode(error)) {
    case 403:
      // A user who may only use it cannot compare its settings: that it exists is all there is to say.
      if (present) return undefined;
      return {
        resource,
        state: "forbidden",
        detail: `no right to create ${kind} "${name}"; give the user "configure" on it, or create it beforehand`,
      };
    case 405:
      return {
        resource,
        state: "differs",
        detail: `${kind} "${name}" is exclusive to another connection; choose another name`,
      };
    case 406: {
      const difference = inequivalent(error) ?? text(error);
      return {
        resource,
        state: "differs",
        detail: `${kind} "${name}": ${difference}; delete it or use the settings that it has`,
      };
    }
    default:
      throw translate(error, `cannot declare ${kind} "${name}"`);
  }
}

/** Bindings cannot be read over AMQP: making one that exists does nothing, and `verify` has to trust. */
async function bind(
  resource: Resource,
  { ask, mode, signal }: Asking,
  unusable: ReadonlySet<string>,
): Promise<Finding | undefined> {
  if (mode === "verify") return undefined;
  const { source, destination, to, pattern } = bindingOf(resource);
  if (unusable.has(label("exchange", source)) || unusable.has(label(to, destination))) return undefined;
  const given = Object.fromEntries(
    Object.entries(resource.settings).filter(
      ([setting]) => !["source", "destination", "to", "pattern"].includes(setting),
    ),
  );
  try {
    await ask(
      `cannot bind ${resource.name}`,
      (channel) =>
        to === "queue"
          ? channel.bindQueue(destination, source, pattern, given)
          : channel.bindExchange(destination, source, pattern, given),
      signal,
    );
    return undefined;
  } catch (error) {
    const code = replyCode(error);
    if (code === 403)
      return {
        resource,
        state: "forbidden",
        detail: `no right to bind ${resource.name}; give the user "read" on ${source} and "write" on ${destination}, or bind it and connect with provision: 'assume'`,
      };
    if (code === 404) return { resource, state: "missing", detail: `binding ${resource.name}: ${text(error)}` };
    throw translate(error, `cannot bind ${resource.name}`);
  }
}

function bindingOf({ settings }: Resource): {
  source: string;
  destination: string;
  to: "queue" | "exchange";
  pattern: string;
} {
  return {
    source: String(settings["source"]),
    destination: String(settings["destination"]),
    to: settings["to"] === "exchange" ? "exchange" : "queue",
    pattern: String(settings["pattern"]),
  };
}

/** Queues of another number of shards stay bound and unread, and every message would be kept twice. */
async function checkShards(resource: Resource, work: Asking): Promise<Finding | undefined> {
  const { name, settings } = resource;
  const bits = Number(settings["bits"]);
  const first = bits < 0 ? name : `${name}.${shardName(0, bits)}`;
  if (await isThere("queue", first, work)) return undefined;
  // Every group has dead letters, whatever its shards: without them it is new, and the other numbers need no looking for.
  if (!(await isThere("queue", String(settings["deadLetters"]), work))) return undefined;
  const others = (await work.groups.found(name, work.signal)).filter((other) => other !== bits);
  if (others.length === 0) return undefined;
  const detail =
    `group queue "${name}" is ${others.map(shape).join(" and ")}, wanted ${shape(bits)}; ` +
    "empty and delete the old queues first, or declare the topic as it was";
  return { resource, state: "differs", detail };
}

function shape(bits: number): string {
  return bits < 0 ? "unordered" : `ordered with ${2 ** bits} shards`;
}

function label(kind: string, name: string): string {
  return `${kind} ${name}`;
}

function text(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
