import { type Backlog, DriverError, type Source } from "@sluice/core/driver";
import type { Link } from "./client.ts";
import type { Names } from "./names.ts";
import { entriesOf, numberOf, numbers } from "./replies.ts";
import { waiting } from "./scripts/keep.ts";
import type { Topics } from "./topics.ts";

/** Entries that are counted one by one where the server does not know; more are unknown. */
const most = 10_000;

export interface BacklogParts {
  readonly link: Link;
  readonly names: Names;
  readonly topics: Topics;
  readonly signal: AbortSignal;
}

/** @throws DriverError NOT_FOUND */
export async function backlogOf(source: Source, parts: BacklogParts): Promise<Backlog> {
  if (source.topic === undefined || "broadcast" in source) return {};
  if (source.deadLetter) return lettersOf(parts.names.deadLetters(source.topic, source.group), parts);
  const { names, topics, link, signal } = parts;
  const { topic, group } = source;
  const shards = await topics.shards(topic);
  const all = Array.from({ length: shards }, (_, shard) => [
    names.stream(topic, shard),
    names.own(topic, group, shard),
  ]);
  const answers = await Promise.all(
    all.flat().map(async (stream) => {
      const doing = `cannot look at group "${group}" of topic "${topic}"`;
      return numbers(await link.run(doing, waiting, [stream], [group, most], { signal }));
    }),
  );
  const [, , counts] = names.delayed(topic);
  const delayed = await link.ask(`cannot look at topic "${topic}"`, (client) => client.hmget(counts, group, ""), {
    signal,
  });
  const ready = answers.map(([each = -1]) => each);
  const ages = answers.flatMap(([, , age = -1]) => (age < 0 ? [] : [age]));
  return {
    // One that cannot be told makes the sum untellable: never 0.
    ...(ready.includes(-1) ? {} : { ready: ready.reduce((sum, each) => sum + each, 0) }),
    inFlight: answers.reduce((sum, [, pending = 0]) => sum + pending, 0),
    delayed: delayed.reduce((sum, each) => sum + Number(each ?? 0), 0),
    oldestMs: Math.max(0, ...ages),
  };
}

async function lettersOf(stream: string, { link, signal }: BacklogParts): Promise<Backlog> {
  const doing = `cannot look at "${stream}"`;
  const exists = await link.ask(doing, (client) => client.exists(stream), { signal });
  if (exists === 0) {
    throw new DriverError(
      "NOT_FOUND",
      `redis: dead letters "${stream}" do not exist; create them, or connect with provision: 'create'`,
    );
  }
  const ready = numberOf(await link.ask(doing, (client) => client.xlen(stream), { signal }));
  const first = await link.ask(doing, (client) => client.xrangeBuffer(stream, "-", "+", "COUNT", 1), { signal });
  const [seconds] = await link.ask(doing, (client) => client.time(), { signal });
  const [oldest] = entriesOf(first);
  return { ready, oldestMs: oldest ? Math.max(0, Number(seconds) * 1_000 - Number(oldest.id.split("-", 1)[0])) : 0 };
}
