import { type Declaration, type DeclaredTopic, DriverError, type Resource } from "@sluice/core/driver";
import type { Names } from "./names.ts";
import { begin } from "./scripts/broadcast.ts";
import { look, make, seekGroup, trim, waiting } from "./scripts/keep.ts";
import { claim, leaveGroup, recover, take } from "./scripts/read.ts";
import type { Script } from "./scripts/script.ts";
import { accept, commit, giveBack, renew } from "./scripts/settle.ts";
import { beat, giveUp } from "./scripts/shards.ts";
import { moveDue, storeAll } from "./scripts/store.ts";

/** Commands of a role, in the words of the server's ACL: what is called directly, and what the scripts call. */
function rights(scripts: readonly Script[], direct: string): readonly string[] {
  const commands = ["evalsha", "eval", ...direct.split(" "), ...scripts.flatMap((script) => script.commands)];
  return [...new Set(commands)].sort().map((command) => `+${command}`);
}

const provisionActions = rights([make, look], "hget hsetnx");
/** Whoever delays something moves it on, and hard limits hold where nobody reads. */
const publishActions = rights([storeAll, moveDue, trim], "hget");
const blocking = "xread client|id client|unblock";
const broadcastActions = rights([begin], `hget ${blocking}`);
const consumeActions = rights(
  [
    take,
    claim,
    recover,
    leaveGroup,
    accept,
    giveBack,
    renew,
    commit,
    beat,
    giveUp,
    moveDue,
    trim,
    look,
    waiting,
    seekGroup,
  ],
  `hget hmget xreadgroup ${blocking}`,
);
/** Dead letters are written by their group; browsed and sent again by whoever does that. */
const letterActions = rights([commit, storeAll, look], "exists time xdel xlen xrange xrevrange");

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
      actions: { provision: provisionActions, publish: publishActions, consume: broadcastActions },
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
        actions: { provision: provisionActions, consume: consumeActions },
      },
      ...(group.deadLetter
        ? [
            {
              kind: "dead-letters",
              name: names.deadLetters(topic.name, group.name),
              settings: { topic: topic.name, group: group.name },
              actions: { provision: provisionActions, consume: letterActions },
            },
          ]
        : []),
    ]),
  ];
}
