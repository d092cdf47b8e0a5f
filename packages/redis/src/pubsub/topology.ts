import { type Declaration, DriverError, type Resource } from "@sluice/core/driver";
import type { PubsubSettings } from "./options.ts";

/** A channel has the topic's name. n.b. channels are not keys: databases and key prefixes of a client do not part them. */
export function channelOf(prefix: string, topic: string): string {
  const name = `${prefix}${topic}`;
  if (Buffer.byteLength(name) <= 1_024) return name;
  throw new DriverError(
    "CONFIG",
    `redis-pubsub: the channel "${name.slice(0, 60)}…" has more than 1024 bytes; shorten topic or prefix`,
  );
}

/** A channel is there as soon as somebody names it: nothing is made, only named for who grants rights. Pure. */
export function pubsubTopology(declaration: Declaration, { prefix, sharded }: PubsubSettings): readonly Resource[] {
  return declaration.topics.map(({ name }) => ({
    kind: "channel",
    name: channelOf(prefix, name),
    settings: { sharded },
    actions: {
      publish: [sharded ? "+spublish" : "+publish"],
      consume: sharded ? ["+ssubscribe", "+sunsubscribe"] : ["+subscribe", "+unsubscribe"],
    },
  }));
}
