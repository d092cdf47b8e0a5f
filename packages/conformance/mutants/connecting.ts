/** Defects of provisioning, names and errors. */
import { DriverError, type Destination, type Resource, type Source } from "@sluice/core/driver";
import type { Changes, Maybe, Mutant } from "./mutant.ts";

const never = <T>(): Promise<T> => new Promise<T>(() => {});
const live = (): AbortSignal => new AbortController().signal;

interface Names {
  readonly topic?: (name: string) => string;
  readonly group?: (name: string) => string;
}

/** Uses other names on the broker than those that it was given. */
function renaming({ topic = (name) => name, group = (name) => name }: Names): Changes {
  const destination = (to: Destination): Destination =>
    to.group === undefined ? { topic: topic(to.topic) } : { ...to, topic: topic(to.topic), group: group(to.group) };
  const source = (from: Source): Source => {
    if (from.topic === undefined) return from;
    return "group" in from
      ? { ...from, topic: topic(from.topic), group: group(from.group) }
      : { ...from, topic: topic(from.topic) };
  };
  const resource = (made: Resource): Resource => {
    const { settings } = made;
    const named = { ...settings, topic: topic(String(settings["topic"])) };
    const settled = "group" in settings ? { ...named, group: group(String(settings["group"])) } : named;
    return { ...made, settings: settled };
  };
  return {
    connection: (connection) => ({
      provision: (resources, mode, signal) => connection.provision(resources.map(resource), mode, signal),
      backlog: (of, signal) => connection.backlog(source(of), signal),
    }),
    sender: (sender) => ({
      send: (items, signal) =>
        sender.send(
          items.map((item) => ({ ...item, to: destination(item.to) })),
          signal,
        ),
    }),
    receiver: (receiver) => ({
      commit: async (units) =>
        (await receiver.commit?.(
          units.map((unit) => ({
            ...unit,
            send: unit.send.map((item) => ({ ...item, to: destination(item.to) })),
          })),
        )) ?? [],
    }),
    sources: async (sources) => sources.map(source),
  };
}

export const connecting: readonly Mutant[] = [
  {
    name: "names-collide",
    defect: "dots and hyphens in names are the same",
    killedBy: ["G-17a"],
    changes: renaming({ topic: (name) => name.replaceAll(/[.-]/g, "-") }),
  },
  {
    name: "long-names-are-cut",
    defect: "of a topic's name only the first hundred characters count",
    killedBy: ["G-17a"],
    changes: renaming({ topic: (name) => name.slice(0, 100) }),
  },
  {
    name: "groups-are-cut-at-a-dot",
    defect: "of a group's name only what comes before a dot counts",
    killedBy: ["G-17c"],
    changes: renaming({ group: (name) => name.split(".")[0] ?? name }),
  },
  {
    name: "topics-mix",
    defect: "a record is also stored in the topic that was used before",
    killedBy: ["DL-07", "DL-06"],
    changes: {
      sender(sender) {
        let last: Maybe<Destination>;
        return {
          async send(items, signal) {
            const results = await sender.send(items, signal);
            for (const item of items) {
              if (last && last.topic !== item.to.topic) await sender.send([{ ...item, to: last }], signal);
              if (item.to.group === undefined) last = item.to;
            }
            return results;
          },
        };
      },
    },
  },
  {
    name: "topic-of-nobody-hangs",
    defect: "a send to a missing topic never settles",
    killedBy: ["RP-01", "G-28"],
    changes: {
      sender: (sender) => ({
        async send(items, signal) {
          const results = await sender.send(items, signal);
          return results.some((result) => result.outcome !== "stored") ? never() : results;
        },
      }),
    },
  },
  {
    name: "missing-is-unknown",
    defect: "a missing topic is reported as UNKNOWN",
    killedBy: ["RP-01", "G-28"],
    changes: {
      sender: (sender) => ({
        async send(items, signal) {
          const results = await sender.send(items, signal);
          return results.map((result) =>
            result.outcome === "stored"
              ? result
              : { outcome: result.outcome, error: new DriverError("UNKNOWN", result.error.message) },
          );
        },
      }),
      connection: (connection) => ({
        provision: async (resources, mode, signal) =>
          mode === "verify" ? [] : connection.provision(resources, mode, signal),
      }),
    },
  },
  {
    name: "errors-name-nothing",
    defect: "errors do not name the topic",
    killedBy: ["RP-01", "RP-02"],
    changes: {
      sender: (sender) => ({
        async send(items, signal) {
          const results = await sender.send(items, signal);
          return results.map((result) =>
            result.outcome === "stored"
              ? result
              : { outcome: result.outcome, error: new DriverError(result.error.code, "not found") },
          );
        },
      }),
      connection: (connection) => ({
        receiver: (sources, options) =>
          connection.receiver(sources, options).catch((error: unknown) => {
            throw error instanceof DriverError ? new DriverError(error.code, "not found") : error;
          }),
      }),
    },
  },
  {
    name: "creates-what-is-missing",
    defect: "a receiver creates its topic and group although provisioning is off",
    killedBy: ["RP-02"],
    changes: {
      connection: (connection) => ({
        async receiver(sources, options) {
          for (const source of sources) {
            if (!("group" in source)) continue;
            const { topic, group } = source;
            const settings = { topic, group };
            await connection.provision(
              [
                { kind: "topic", name: topic, settings: { topic, ordered: options.ordered, shards: 1 } },
                { kind: "group", name: `${topic}/${group}`, settings: { ...settings, start: "now" } },
                { kind: "own-entry", name: `${topic}/${group}/own`, settings },
              ],
              "create",
              live(),
            );
          }
          return connection.receiver(sources, options);
        },
      }),
    },
  },
  {
    name: "creating-again-empties",
    defect: "provisioning a group that exists throws its waiting messages away",
    killedBy: ["RP-03", "DL-02"],
    changes: {
      connection: (connection) => ({
        async provision(resources, mode, signal) {
          const findings = await connection.provision(resources, mode, signal);
          const created = new Set(
            findings.filter(({ state }) => state === "created").map(({ resource }) => resource.name),
          );
          for (const resource of resources) {
            if (resource.kind !== "group" || created.has(resource.name)) continue;
            const source = {
              topic: String(resource.settings["topic"]),
              group: String(resource.settings["group"]),
              start: "now",
            } as const;
            const { ready = 0 } = await connection.backlog(source, live());
            if (ready === 0) continue;
            const broom = await connection
              .receiver([source], { ordered: false, window: 1_000, windowBytes: 1e9, lost() {} })
              .catch(() => undefined);
            const found = (await broom?.receive(1_000, AbortSignal.timeout(10_000))) ?? [];
            await broom?.settle(found.map((delivery) => ({ delivery, accept: true })));
            await broom?.close(signal);
          }
          return findings;
        },
      }),
    },
  },
  {
    name: "broadcast-shares-the-work",
    defect: "instances of a broadcast with one name compete",
    killedBy: ["GR-03"],
    changes: {
      connection: (connection) => {
        return {
          async receiver(sources, options) {
            const shared = await Promise.all(
              sources.map(async (source) => {
                if (!("broadcast" in source)) return source;
                const { topic, broadcast: group } = source;
                await connection.provision(
                  [{ kind: "group", name: `${topic}/${group}`, settings: { topic, group, start: "now" } }],
                  "create",
                  live(),
                );
                return { topic, group, start: "now" } as const;
              }),
            );
            return connection.receiver(shared, options);
          },
        };
      },
    },
  },
  {
    name: "refuses-the-largest-message",
    defect: "states a size limit that is one byte too high",
    killedBy: ["G-15"],
    changes: {
      connection: (connection) => ({
        limits: { ...connection.limits, messageBytes: connection.limits.messageBytes + 1 },
      }),
    },
    facts: (facts) => ({ ...facts, limits: { ...facts.limits, messageBytes: facts.limits.messageBytes + 1 } }),
  },
];
