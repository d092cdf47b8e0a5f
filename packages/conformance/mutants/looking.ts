/** Defects of what the broker tells, of where groups begin, and of steps that are one. */
import { DriverError, type SendItem, type SendResult } from "@sluice/core/driver";
import type { Mutant } from "./mutant.ts";

const live = (): AbortSignal => new AbortController().signal;
const stored = (): SendResult => ({ outcome: "stored" });

export const looking: readonly Mutant[] = [
  {
    name: "backlog-counts-one-less",
    defect: "the backlog leaves the oldest message out",
    killedBy: ["BL-01"],
    changes: {
      connection: (connection) => ({
        async backlog(source, signal) {
          const backlog = await connection.backlog(source, signal);
          return { ...backlog, ready: Math.max(0, (backlog.ready ?? 0) - 1) };
        },
      }),
    },
  },
  {
    name: "looking-is-taking",
    defect: "dead letters that were listed are gone",
    killedBy: ["RD-12"],
    changes: {
      connection: (connection) => ({
        async browse(source, after, max, signal) {
          const options = { ordered: false, window: max, windowBytes: 1e9, lost() {} };
          const page = (await connection.browse?.(source, after, max, signal)) ?? { deliveries: [], next: undefined };
          const receiver = await connection.receiver([source], options);
          const taken = (await receiver.receive(max, AbortSignal.timeout(500))) ?? [];
          await receiver.settle(taken.map((delivery) => ({ delivery, accept: true })));
          await receiver.close(signal);
          return page;
        },
      }),
    },
  },
  {
    name: "every-group-begins-now",
    defect: "a group that should begin with what is retained begins now",
    killedBy: ["GR-07"],
    changes: {
      connection: (connection) => ({
        provision: (resources, mode, signal) =>
          connection.provision(
            resources.map((resource) => ({ ...resource, settings: { ...resource.settings, start: "now" } })),
            mode,
            signal,
          ),
      }),
    },
  },
  {
    name: "a-commit-does-what-it-can",
    defect: "a commit stores the sends that can be stored, and answers unknown for the others",
    killedBy: ["CM-01"],
    changes: {
      receiver: (receiver, { connection }) => ({
        async commit(units) {
          const sender = await connection.sender();
          const possible = async (item: SendItem) =>
            (await sender.send([item], live())).every((one) => one.outcome === "stored");
          const done = await Promise.all(
            units.map(async ({ accept, send }) => {
              const results = await Promise.all(send.map(possible));
              if (results.includes(false)) return "unknown" as const;
              return (
                (await receiver.commit?.([{ accept, send: [] }]))?.[0] ?? new DriverError("LOST", "memory: no commit")
              );
            }),
          );
          await sender.close(live());
          return done;
        },
      }),
    },
  },
  {
    name: "delays-are-kept-in-the-client",
    defect: "a delayed record waits in the process that sent it",
    of: "log",
    killedBy: ["G-03b"],
    changes: {
      sender(sender) {
        let open = true;
        return {
          async send(items, signal) {
            const now = items.filter(({ notBefore }) => notBefore === undefined);
            const later = items.filter(({ notBefore }) => notBefore !== undefined);
            for (const item of later) {
              const wait = (item.notBefore ?? 0) - Date.now();
              setTimeout(
                () => void (open && sender.send([{ to: item.to, record: item.record }], live())),
                wait,
              ).unref();
            }
            const results = now.length > 0 ? [...(await sender.send(now, signal))] : [];
            return items.map((item) => (item.notBefore === undefined ? (results.shift() ?? stored()) : stored()));
          },
          close(signal) {
            open = false;
            return sender.close(signal);
          },
        };
      },
    },
  },
];
