import { type BroadcastSource, DriverError, type GroupSource, type Source } from "@sluice/core/driver";
import type { Groups } from "./groups.ts";
import type { LaneSpec } from "./lane.ts";
import type { Names } from "./names.ts";

export interface SourceParts {
  readonly names: Names;
  readonly groups: Groups;
  readonly quorum: boolean;
  /** Whether what is given back counts as never delivered. */
  readonly freeReturns: boolean;
  readonly ordered: boolean;
  /** A number that no earlier queue of this broadcast instance had. */
  opened(source: BroadcastSource): number;
}

/** The queues behind a source. @throws DriverError NOT_FOUND | MISMATCH | UNSUPPORTED */
export async function lanesOf(source: Source, parts: SourceParts): Promise<readonly LaneSpec[]> {
  if (source.topic === undefined)
    throw unsupported("there are no waiting places to read: delays end at their destination by themselves");
  if ("broadcast" in source) return [broadcast(source, parts)];
  if (source.deadLetter)
    throw new DriverError("CONFIG", `rabbitmq: dead letters of topic "${source.topic}" need a receiver of their own`);
  return group(source, parts);
}

async function group(
  source: GroupSource,
  { names, groups, quorum, freeReturns, ordered }: SourceParts,
): Promise<readonly LaneSpec[]> {
  if (source.start === "earliest") {
    throw unsupported(
      `group "${source.group}" cannot begin with what was sent before it existed; use start: 'now', or declare the group first`,
    );
  }
  const queues = await groups.queues(source.topic, source.group);
  const base = names.queue(source.topic, source.group);
  if (queues.length === 0) {
    throw new DriverError(
      "NOT_FOUND",
      `rabbitmq: queue "${base}" does not exist; create it, or connect with provision: 'create'`,
    );
  }
  const single = queues.length > 1 || queues[0] !== base;
  if (ordered && !single) {
    throw new DriverError(
      "MISMATCH",
      `rabbitmq: queue "${base}" keeps no order; declare the topic ordered, with a new group`,
    );
  }
  return queues.map((queue) => ({
    source,
    queue: async () => queue,
    shard: queue,
    counts: quorum,
    freeReturns,
    ordered,
  }));
}

/** n.b. a new name each time: the broker keeps an exclusive name locked until it notices that the old connection is dead. */
function broadcast(source: BroadcastSource, parts: SourceParts): LaneSpec {
  const exchange = parts.names.exchange(source.topic);
  const name = parts.names.broadcast(source.topic, source.broadcast, source.instance, parts.opened(source));
  return {
    source,
    async queue(channel) {
      await channel.assertQueue(name, {
        exclusive: true,
        autoDelete: true,
        durable: false,
        arguments: { "x-queue-type": "classic" },
      });
      await channel.bindQueue(name, exchange, "#");
      return name;
    },
    shard: name,
    counts: false,
    freeReturns: false,
    ordered: false,
    unroute: (channel) => channel.unbindQueue(name, exchange, "#"),
  };
}

function unsupported(text: string): DriverError {
  return new DriverError("UNSUPPORTED", `rabbitmq: ${text}`);
}
