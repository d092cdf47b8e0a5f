/** What nearly every case does through the public API, with every step in the ledger. */
import type { Bus, Context, GroupOptions, Outcome, PublishOptions, SubscribeOptions, Subscription } from "@sluice/core";
import { isSluiceError } from "@sluice/core";
import { poll } from "./clock.ts";
import type { CaseContext, ItemTopic } from "./context.ts";
import type { Ledger } from "./ledger.ts";
import { type Account, account, type Bounds, verify } from "./oracle.ts";
import { idOf, isIntact, type Item, runHeader } from "./payload.ts";

/** What a handler does besides being recorded. Returning nothing counts as the effect. */
export type Behaviour = (item: Item, context: Context) => void | Outcome | Promise<void | Outcome>;

/** Fast and generous: cases that are about something else must not run out of attempts or time. */
export const quickRetry = { attempts: 20, firstDelay: 5, factor: 2, maxDelay: 50 } as const;

/** The same through the group's own entry. n.b. a wait is drawn, and one of nothing is waited here: they are longer. */
export const movedRetry: Readonly<Record<"attempts" | "firstDelay" | "factor" | "maxDelay" | "inPlace", number>> = {
  ...quickRetry,
  firstDelay: 40,
  factor: 1,
  maxDelay: 40,
  inPlace: 0,
};

/** What has to be typed out at every call where the broker may lose messages. */
export function stated(bus: Bus): { readonly delivery?: "at-most-once" } {
  return bus.capabilities.delivery === "at-most-once" ? { delivery: "at-most-once" } : {};
}

export interface PublishPlan {
  /** Outstanding at once. @default 20 */
  readonly concurrency?: number;
  readonly options?: (item: Item) => PublishOptions;
  readonly ledger?: Ledger;
}

/** Publishes all items, in order per key, and records intent and outcome of each. Does not throw for a failed publish. */
export async function publishAll(
  context: { readonly run: string; readonly ledger: Ledger },
  bus: Bus,
  topic: ItemTopic,
  items: readonly Item[],
  plan: PublishPlan = {},
): Promise<void> {
  const ledger = plan.ledger ?? context.ledger;
  const queue = items.values();
  const lane = async () => {
    for (const item of queue) await publishOne(ledger, context.run, bus, topic, item, plan.options?.(item));
  };
  await Promise.all(Array.from({ length: plan.concurrency ?? 20 }, lane));
}

/** Topics on brokers without headers: there the id alone tells whose a message is. */
const unmarked = new Set<string>();

/** The header that marks a message as this run's, beside the given ones; nothing where the broker has no headers. */
export function marks(
  bus: Bus,
  topic: string,
  run: string,
  headers: PublishOptions["headers"],
): { readonly headers?: Readonly<Record<string, string>> } {
  if (bus.capabilities.headers !== "absent") return { headers: { [runHeader]: run, ...headers } };
  unmarked.add(topic);
  return headers ? { headers } : {};
}

/** Publishes one item and records what came of it; resolves to the error, if any. */
export async function publishOne(
  ledger: Ledger,
  run: string,
  bus: Bus,
  topic: ItemTopic,
  item: Item,
  options: PublishOptions = {},
): Promise<unknown> {
  const fields = { topic: topic.name, id: idOf(item), key: item.key, n: item.n };
  ledger.write("publish-intent", fields);
  try {
    const marked = { ...options, ...marks(bus, topic.name, run, options.headers) };
    await bus.publish(topic, item, { id: idOf(item), ...stated(bus), ...marked });
    ledger.write("publish-ok", fields);
    return undefined;
  } catch (error) {
    const certain = isSluiceError(error) && error.outcome === "not-stored";
    ledger.write(certain ? "publish-failed" : "publish-unknown", { ...fields, detail: String(error) });
    return error;
  }
}

/** A handler that writes `handler-start`, then runs the behaviour, then writes what came of it before it can be settled. */
export function recording(
  ledger: Ledger,
  topic: string,
  group: string,
  run: string,
  behaviour: Behaviour = () => {},
): (item: Item, context: Context) => Promise<void | Outcome> {
  return async (item, context) => {
    const { message } = context;
    const foreign = unmarked.has(topic) ? false : message.headers[runHeader] !== run;
    const corrupted = !isIntact(item) || foreign || message.id !== idOf(item);
    const fields = {
      topic,
      group,
      id: message.id,
      key: item.key,
      n: item.n,
      attempt: message.attempt,
      deliveries: message.deliveries,
      ...(corrupted && { corrupted }),
    };
    ledger.write("handler-start", fields);
    try {
      const outcome = await behaviour(item, context);
      if (!outcome) ledger.write("effect", fields);
      else ledger.write(outcome.kind === "drop" ? "dropped" : "handler-end", { ...fields, detail: outcome.kind });
      return outcome;
    } catch (error) {
      ledger.write("handler-end", { ...fields, detail: `threw ${describe(error)}` });
      throw error;
    }
  };
}

/** The same options, as a broadcast where there are no groups. */
export function readable(bus: Bus, options: GroupOptions): SubscribeOptions {
  if (bus.capabilities.group !== "absent") return options;
  const { group, start: _, deadLetter: __, transactional: ___, retry = {}, ...rest } = options;
  const { inPlace: ____, ...inPlaceOnly } = retry;
  return { ...rest, broadcast: group, retry: inPlaceOnly, ...stated(bus) };
}

/** Subscribes a recorded handler. */
export function subscribe(
  context: CaseContext,
  bus: Bus,
  topic: ItemTopic,
  options: GroupOptions,
  behaviour?: Behaviour,
  ledger: Ledger = context.ledger,
): Promise<Subscription> {
  return bus.subscribe(
    topic,
    readable(bus, { retry: quickRetry, ...options }),
    recording(ledger, topic.name, options.group, context.run, behaviour),
  );
}

/** Waits until so many different messages had their effect in the group. */
export function effects(context: CaseContext, topic: ItemTopic, group: string, count: number): Promise<void> {
  const seen = () => context.journal.ids("effect", topic.name, group).size;
  return context.journal.until(
    `${count} messages handled by ${group}`,
    context.limits(count),
    () => seen() >= count,
    () => `handled ${seen()} of ${count}; missing ${missing(context, topic.name, group)}`,
  );
}

/** The first ids that were published and not handled. */
export function missing(context: CaseContext, topic: string, group: string): string {
  const handled = context.journal.ids("effect", topic, group);
  const left = [...context.journal.ids("publish-intent", topic).keys()].filter((id) => !handled.has(id));
  return `${left.slice(0, 10).join(", ")}${left.length > 10 ? ` and ${left.length - 10} more` : ""}`;
}

/** Waits until the broker holds exactly `count` messages that the group has not settled. */
export async function depth(context: CaseContext, topic: string, group: string, count: number): Promise<void> {
  if (context.facts.capabilities.group === "absent") return; // Nothing is kept for anybody.
  let last = -1;
  const ask = async () => ((last = await context.raw.depth(topic, group)) === count ? true : undefined);
  const what = () => `the broker holds ${count} unsettled messages of ${group} (it holds ${last})`;
  await poll(context.harness.timing.recoveryMs, what, ask);
}

/** Records the group's dead letters; resolves to how many there are. */
export async function recordDeadLetters(context: CaseContext, topic: string, group: string): Promise<number> {
  if (context.facts.capabilities.group === "absent") return 0;
  const records = await context.raw.deadLetters(topic, group);
  for (const record of records) {
    const item = record.body === null ? undefined : (JSON.parse(Buffer.from(record.body).toString()) as Item);
    context.ledger.write("dlq-seen", { topic, group, ...(item && { id: idOf(item), key: item.key, n: item.n }) });
  }
  return records.length;
}

/** The usual end: nothing left at the broker, everything accounted for, within the bounds. Sets the case's metrics. */
export async function conserve(
  context: CaseContext,
  topic: ItemTopic,
  group: string,
  bounds: Bounds = {},
): Promise<Account> {
  context.journal.catchUp();
  await recordDeadLetters(context, topic.name, group);
  let stuck = 0;
  try {
    await depth(context, topic.name, group, 0);
  } catch {
    stuck = await context.raw.depth(topic.name, group);
  }
  const result = account(context.journal.events, topic.name, group);
  Object.assign(context.metrics, {
    published: result.published,
    effects: result.effects,
    lost: result.lost.length,
    duplicates: result.duplicates,
    budget: bounds.duplicates ?? 0,
    reorder: result.reorder.length,
    corrupted: result.corrupted.length,
    unexpected: result.unexpected.length,
    recovered: result.recovered.length,
    stuck,
    gapMs: Math.round(result.gapMs),
    latencyP50Ms: result.latencyP50Ms,
    latencyP99Ms: result.latencyP99Ms,
  });
  verify(result, { ...bounds, stuck }, () => context.journal.tail());
  return result;
}

/** A thrown value as text, whatever it is. */
export function describe(error: unknown): string {
  try {
    return error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  } catch {
    return "a value that cannot be shown";
  }
}
