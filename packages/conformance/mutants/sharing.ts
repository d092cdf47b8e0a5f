/** Defects of leases and groups: who holds what, and for how long. */
import type { Source } from "@sluice/core/driver";
import { eachDelivery, type Maybe, type Mutant, tracking } from "./mutant.ts";

const live = (): AbortSignal => new AbortController().signal;

function groupOf(source: Maybe<Source>): { readonly topic: string; readonly group: string } | undefined {
  return source && "group" in source && !source.deadLetter ? { topic: source.topic, group: source.group } : undefined;
}

let member = 0;
const firstGroups = new Map<string, string>();
const doneEverywhere = new Map<string, string>();

export const sharing: readonly Mutant[] = [
  {
    name: "counts-no-redelivery",
    defect: "deliveries is 1 for ever",
    killedBy: ["AK-11"],
    changes: eachDelivery((delivery) => ({ ...delivery, deliveries: 1 })),
  },
  {
    name: "prolonging-is-a-no-op",
    defect: "extend answers that all is well and prolongs nothing",
    killedBy: ["AK-13"],
    changes: { receiver: () => ({ extend: async () => [] }) },
  },
  {
    name: "a-lost-lease-is-prolonged",
    defect: "extend never reports a loss",
    killedBy: ["AK-14"],
    changes: {
      receiver: (receiver) => ({
        async extend(deliveries, ms) {
          await receiver.extend?.(deliveries, ms);
          return [];
        },
      }),
    },
  },
  {
    name: "stale-settlements-count",
    defect: "a settlement after the lease was lost answers durable",
    killedBy: ["AK-12", "AK-07"],
    changes: {
      receiver: (receiver) => ({
        settle: async (settlements) =>
          (await receiver.settle(settlements)).map((result) => (result === "lost" ? "durable" : result)),
      }),
    },
  },
  {
    name: "leases-never-end",
    defect: "a delivery that its holder forgot never comes again",
    killedBy: ["AK-11", "AK-12"],
    changes: {
      receiver(receiver, { context }) {
        const { open, members } = tracking(receiver);
        const renew = () => {
          void receiver.extend?.([...open], 60_000);
          context.runtime.timer(50, renew, { background: true });
        };
        renew();
        return members;
      },
    },
  },
  {
    name: "nobody-is-told-of-a-lost-lease",
    defect: "lost is never called",
    killedBy: ["AK-11"],
    changes: { options: (options) => ({ ...options, lost: () => {} }) },
  },
  {
    name: "groups-share-a-cursor",
    defect: "all groups of a topic read as the first one",
    killedBy: ["GR-01", "GR-05"],
    changes: {
      sources: async (sources) =>
        sources.map((source) => {
          const found = groupOf(source);
          if (!found || !("start" in source)) return source;
          if (!firstGroups.has(found.topic)) firstGroups.set(found.topic, found.group);
          return { ...source, group: firstGroups.get(found.topic) ?? found.group };
        }),
    },
  },
  {
    name: "every-member-gets-everything",
    defect: "each member of a group is a group of its own",
    killedBy: ["GR-02", "G-10", "G-05"],
    changes: {
      sources: async (sources, connection) => {
        const [source] = sources;
        const found = groupOf(source);
        if (!found || !source || !("start" in source)) return sources;
        const group = `${found.group}-member-${++member}`;
        const settings = { topic: found.topic, group };
        const made = [
          { kind: "group", name: `${found.topic}/${group}`, settings: { ...settings, start: "earliest" } },
          { kind: "own-entry", name: `${found.topic}/${group}/own`, settings },
        ];
        const known = await connection.provision(made, "create", live()).catch(() => []);
        return known.length > 0 ? [{ ...source, group }] : sources;
      },
    },
  },
  {
    name: "settling-leaks-across-groups",
    defect: "what one group has settled the other groups never see",
    killedBy: ["GR-05"],
    changes: {
      receiver: (receiver, { sources }) => ({
        async receive(max, signal) {
          const found = groupOf(sources[0]);
          const deliveries = await receiver.receive(max, signal);
          if (!found || !deliveries) return deliveries;
          const foreign = deliveries.filter(
            ({ id }) => id !== undefined && (doneEverywhere.get(`${found.topic} ${id}`) ?? found.group) !== found.group,
          );
          await receiver.settle(foreign.map((delivery) => ({ delivery, accept: true })));
          return deliveries.filter((delivery) => !foreign.includes(delivery));
        },
        async settle(settlements) {
          const found = groupOf(sources[0]);
          for (const { delivery, accept } of settlements) {
            if (found && accept && delivery.id !== undefined)
              doneEverywhere.set(`${found.topic} ${delivery.id}`, found.group);
          }
          return receiver.settle(settlements);
        },
      }),
    },
  },
  {
    name: "ignores-the-filter",
    defect: "delivers what does not match the filter",
    killedBy: ["GR-09"],
    changes: {
      sources: async (sources) =>
        sources.map((source) => {
          if (!("filter" in source)) return source;
          const { filter: _, ...rest } = source;
          return rest;
        }),
    },
  },
];
