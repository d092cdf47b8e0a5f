import { type Declaration, type DeclaredTopic, DriverError, type Resource } from "@sluice/core/driver";
import type { Names } from "./names.ts";

/** Commands per role, in the words of the server's ACL. Scripts are checked for what they call. */
const provisionActions = [
  "+exists",
  "+hsetnx",
  "+hgetall",
  "+info",
  "+evalsha",
  "+eval",
  "+xadd",
  "+xdel",
  "+xgroup|create",
];
const publishActions = ["+evalsha", "+eval", "+get", "+set", "+xadd", "+exists", "+zadd", "+hset", "+hincrby", "+hget"];
const consumeActions =
  "+evalsha +eval +xread +xreadgroup +xack +xdel +xclaim +xpending +xinfo|groups +xinfo|consumers +xgroup|delconsumer +xtrim +xrange +client|id +client|unblock".split(
    " ",
  );

/** Everything that must exist on the server, in an order in which it can be made. Pure. */
export function topology(declaration: Declaration, names: Names): readonly Resource[] {
  if (declaration.topics.length === 0) return [];
  return [...server, ...declaration.topics.flatMap((topic) => topicResources(topic, names))];
}

/** Not made by us: what must be so on the server, or messages are lost silently. */
const server: readonly Resource[] = [
  { kind: "server", name: "eviction", settings: { "maxmemory-policy": "noeviction" }, shared: true },
  { kind: "server", name: "persistence", settings: { appendonly: true }, shared: true },
];

function topicResources(topic: DeclaredTopic, names: Names): readonly Resource[] {
  const shards = topic.ordered ? topic.shards : 1;
  if (shards > 1_024) {
    throw new DriverError("CONFIG", `redis: topic "${topic.name}" wants ${shards} shards; 1024 is the most`);
  }
  const about = { topic: topic.name, ordered: topic.ordered, shards };
  return [
    {
      kind: "stream",
      name: names.stream(topic.name, 0),
      settings: about,
      actions: { provision: provisionActions, publish: publishActions },
    },
    ...topic.groups.flatMap((group): Resource[] => [
      {
        kind: "group",
        name: `${names.stream(topic.name, 0)} ${group.name}`,
        settings: { ...about, group: group.name, start: group.start },
        actions: { provision: provisionActions, consume: consumeActions },
      },
      {
        kind: "own-entry",
        name: names.own(topic.name, group.name, 0),
        settings: { ...about, group: group.name },
        actions: { provision: provisionActions, consume: [...consumeActions, ...publishActions] },
      },
      ...(group.deadLetter
        ? [
            {
              kind: "dead-letters",
              name: names.deadLetters(topic.name, group.name),
              settings: { topic: topic.name, group: group.name },
              actions: { provision: provisionActions, consume: publishActions },
            },
          ]
        : []),
    ]),
  ];
}
