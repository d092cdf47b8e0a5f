import { type CommitResult, DriverError, type SendItem, type Unit } from "@sluice/core/driver";
import type { Argument } from "./client.ts";
import { translate } from "./errors.ts";
import type { Held } from "./holdings.ts";
import { Keys } from "./keys.ts";
import { textOf } from "./replies.ts";
import { commit } from "./scripts/settle.ts";
import type { SettlingContext } from "./settling.ts";
import { nowhere, type Stores } from "./stores.ts";
import type { Topics } from "./topics.ts";

export interface MovesContext extends SettlingContext {
  readonly stores: Stores;
  readonly topics: Topics;
  /** A delayed copy was stored: somebody has to move it on. */
  delayed(topic: string, ms: number): void;
}

/** Copies and acceptances of one topic in one script. */
export async function commitUnit(context: MovesContext, { accept, send }: Unit): Promise<CommitResult> {
  const held: Held[] = [];
  for (const delivery of accept) {
    const one = context.holdings.get(delivery);
    if (!one) return "lost";
    held.push(one);
  }
  const topic = held[0]?.lane.source.topic ?? send[0]?.to.topic;
  if (topic === undefined) return "durable";
  const strays = held.some(({ lane }) => lane.source.topic !== topic) || send.some(({ to }) => to.topic !== topic);
  if (strays) return unsupported(topic);
  try {
    return await run(context, topic, held, send);
  } catch (error) {
    const failure = translate(error, `cannot move in topic "${topic}"`);
    // What the server refused did not happen; what it did not answer may have.
    return isRefusal(failure) ? failure : "unknown";
  }
}

async function run(
  context: MovesContext,
  topic: string,
  held: readonly Held[],
  send: readonly SendItem[],
): Promise<CommitResult> {
  const { stores, topics, link, group, consumer } = context;
  const shards = await topics.shards(topic);
  const writes = send.map((item) => stores.write(item, shards));
  const keys = new Keys();
  const args = stores.call(keys, writes);
  const originals = held.flatMap(({ lane, id }): Argument[] => [
    keys.index(lane.stream),
    lane.shard ? keys.index(lane.shard.lease) : 0,
    id,
    lane.own ? "1" : "0",
  ]);
  const answer = textOf(
    await link.run(`cannot move in topic "${topic}"`, commit, keys.list, [
      ...args,
      group,
      consumer,
      held.length,
      ...originals,
    ]),
  );
  if (answer === "lost") return "lost";
  if (answer === "0") return nowhere(send[0]?.to ?? { topic });
  if (answer !== "done") return translate(new Error(answer.replace(/^error /, "")), `cannot move in topic "${topic}"`);
  for (const { delayMs } of writes) if (delayMs > 0) context.delayed(topic, delayMs);
  return "durable";
}

function isRefusal({ cause, code }: DriverError): boolean {
  return code === "INVALID_MESSAGE" || (cause instanceof Error && cause.name === "ReplyError");
}

function unsupported(topic: string): DriverError {
  return new DriverError(
    "UNSUPPORTED",
    `redis: one step cannot span topics, as "${topic}" and another one; move in two steps`,
  );
}
