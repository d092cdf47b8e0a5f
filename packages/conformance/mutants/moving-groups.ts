/** Defects of seek, and of transactions. */
import type { GroupSource } from "@sluice/core/driver";
import type { Mutant } from "./mutant.ts";

const never = <T>(): Promise<T> => new Promise<T>(() => {});

export const movingGroups: readonly Mutant[] = [
  {
    name: "seek-moves-every-group",
    defect: "moves the other group of the topic too",
    of: "seekable",
    killedBy: ["SK-01"],
    changes: {
      connection: (connection) => ({
        async seek(source, to, signal) {
          await connection.seek?.(source, to, signal);
          // Under its members: its own entry gets what the other group was given again.
          const other: GroupSource = { ...source, group: "other" };
          const copies = await connection.receiver([source], {
            ordered: false,
            window: 1e3,
            windowBytes: 1e9,
            lost() {},
          });
          const taken = (await copies.receive(1_000, AbortSignal.timeout(2_000))) ?? [];
          const sender = await connection.sender();
          const { topic, group } = other;
          for (const { id = "x", key, body, headers, time = 0 } of taken) {
            const record = { id, dedupId: `${id}/9`, key, body, headers, time };
            await sender.send([{ to: { topic, group }, record }], signal);
          }
          await sender.close(signal);
          await copies.close(signal);
        },
      }),
    },
  },
  {
    name: "seek-is-off-by-one",
    defect: "a seek to the beginning goes to the second message",
    of: "seekable",
    killedBy: ["SK-01"],
    changes: {
      connection: (connection) => ({
        async seek(source, to, signal) {
          await connection.seek?.(source, to, signal);
          const reader = await connection.receiver([source], {
            ordered: false,
            window: 1,
            windowBytes: 1e9,
            lost() {},
          });
          const first = (await reader.receive(1, AbortSignal.timeout(2_000))) ?? [];
          await reader.settle(first.map((delivery) => ({ delivery, accept: true })));
          await reader.close(signal);
        },
      }),
    },
  },
  {
    name: "seek-knows-only-the-beginning",
    defect: "a seek to anything goes to the first message",
    of: "seekable",
    killedBy: ["SK-02", "SK-03"],
    changes: {
      connection: (connection) => ({
        seek: async (source, _, signal) => connection.seek?.(source, "earliest", signal),
      }),
    },
  },
  {
    name: "seek-does-nothing-under-members",
    defect: "a seek that finds members resolves and moves nothing",
    of: "seekable",
    killedBy: ["SK-04"],
    changes: {
      connection: (connection) => ({
        seek: async (source, to, signal) => connection.seek?.(source, to, signal).catch(() => undefined),
      }),
    },
  },
  {
    name: "a-transaction-without-its-sends",
    defect: "a commit accepts the message and stores nothing of what was published",
    killedBy: ["TX-01", "TX-02"],
    changes: {
      receiver: (receiver) => ({
        commit: async (units) => (await receiver.commit?.(units.map(({ accept }) => ({ accept, send: [] })))) ?? [],
      }),
    },
  },
  {
    name: "a-transaction-without-its-acceptance",
    defect: "a commit stores what was published and does not accept the message",
    killedBy: ["TX-01"],
    changes: {
      receiver: (receiver) => ({
        commit: async (units) => (await receiver.commit?.(units.map(({ send }) => ({ accept: [], send })))) ?? [],
      }),
    },
  },
  {
    name: "a-transaction-in-two-steps",
    defect: "stores what was published at once, and accepts the message 200 ms later",
    killedBy: ["TX-03"],
    changes: {
      receiver: (receiver) => ({
        async commit(units) {
          await receiver.commit?.(units.map(({ send }) => ({ accept: [], send })));
          await new Promise((resolve) => setTimeout(resolve, 200));
          return (await receiver.commit?.(units.map(({ accept }) => ({ accept, send: [] })))) ?? never();
        },
      }),
    },
  },
];
