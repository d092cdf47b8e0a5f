/** Defects on the way back: delivering and settling. */
import { type Delivery, emptyHeaders } from "@sluice/core/driver";
import { eachDelivery, type Mutant, tracking } from "./mutant.ts";

const never = <T>(): Promise<T> => new Promise<T>(() => {});
const live = (): AbortSignal => new AbortController().signal;

export const receiving: readonly Mutant[] = [
  {
    name: "accepts-before-the-handler",
    defect: "settles every delivery when it is handed out",
    killedBy: ["AK-08", "LC-12", "AK-05", "G-01"],
    changes: {
      receiver: (receiver) => ({
        async receive(max, signal) {
          const deliveries = await receiver.receive(max, signal);
          await receiver.settle((deliveries ?? []).map((delivery) => ({ delivery, accept: true })));
          return deliveries;
        },
        settle: async (settlements) => settlements.map(() => "durable"),
        commit: async (units) => units.map(() => "durable"),
        extend: async () => [],
      }),
    },
  },
  {
    name: "never-settles",
    defect: "answers durable to every settlement and settles nothing",
    killedBy: ["RD-10"],
    changes: { receiver: () => ({ settle: async (settlements) => settlements.map(() => "durable") }) },
  },
  {
    name: "reads-only-the-first-source",
    defect: "a receiver of several topics reads the first one",
    killedBy: ["DL-08"],
    changes: { sources: async (sources) => sources.slice(0, 1) },
  },
  {
    name: "shows-no-key",
    defect: "deliveries have no key",
    killedBy: ["AK-03", "OR-06"],
    changes: eachDelivery((delivery) => ({ ...delivery, key: null })),
  },
  {
    name: "accepts-what-is-released",
    defect: "a released delivery is gone",
    killedBy: ["AK-15", "AK-05"],
    changes: {
      receiver: (receiver) => ({
        settle: (settlements) => receiver.settle(settlements.map(({ delivery }) => ({ delivery, accept: true }))),
      }),
    },
  },
  {
    name: "release-is-counted",
    defect: "a returned delivery counts as a failed one although that is declared otherwise",
    killedBy: ["AK-15"],
    changes: {
      receiver: (receiver) => ({
        settle: (settlements) =>
          receiver.settle(settlements.map((each) => (each.accept ? each : { ...each, release: "failed" as const }))),
      }),
    },
  },
  {
    name: "settles-only-the-first-of-a-call",
    defect: "answers durable for a whole call and settles its first delivery",
    killedBy: ["AK-07", "BA-05", "G-10"],
    changes: {
      receiver: (receiver) => ({
        async settle(settlements) {
          await receiver.settle(settlements.slice(0, 1));
          return settlements.map(() => "durable");
        },
      }),
    },
  },
  {
    name: "settling-twice-settles-the-next",
    defect: "a second settlement of a delivery settles the oldest one that is still open",
    killedBy: ["AK-07"],
    changes: {
      receiver(receiver) {
        const { open, members } = tracking(receiver);
        return {
          ...members,
          async settle(settlements) {
            const aimed = settlements.map((each) =>
              open.has(each.delivery) ? each : { ...each, delivery: [...open][0] ?? each.delivery },
            );
            for (const { delivery } of aimed) open.delete(delivery);
            return receiver.settle(aimed);
          },
        };
      },
    },
  },
  {
    name: "accepts-on-close",
    defect: "close settles what is still held",
    killedBy: ["AK-08", "LC-12"],
    changes: {
      receiver(receiver) {
        const { open, members } = tracking(receiver);
        return {
          ...members,
          async close(signal) {
            await receiver.settle([...open].map((delivery) => ({ delivery, accept: true })));
            await receiver.close(signal);
          },
        };
      },
    },
  },
  {
    name: "keeps-what-it-holds-after-close",
    defect: "close resolves, but what was held never goes back to the group",
    killedBy: ["AK-08", "LC-12"],
    changes: {
      receiver(receiver) {
        const { open, members } = tracking(receiver);
        return {
          ...members,
          async close() {
            await receiver.stop(live());
            await receiver.extend?.([...open], 60_000);
          },
        };
      },
      // The connection would give everything back when it closes.
      connection: () => ({ close: async () => {} }),
    },
  },
  {
    name: "close-removes-the-backlog",
    defect: "closing a receiver throws the group's waiting messages away",
    killedBy: ["LC-09"],
    changes: {
      receiver: (receiver, { sources, options, connection }) => ({
        async close(signal) {
          await receiver.close(signal);
          const [source] = sources;
          if (!source || ((await connection.backlog(source, live())).ready ?? 0) === 0) return;
          const broom = await connection.receiver(sources, options).catch(() => undefined);
          const found = (await broom?.receive(1_000, AbortSignal.timeout(10_000))) ?? [];
          await broom?.settle(found.map((delivery) => ({ delivery, accept: true })));
          await broom?.close(signal);
        },
      }),
    },
  },
  {
    name: "gives-back-what-runs-on-stop",
    defect: "stop returns deliveries whose handlers are running",
    killedBy: ["LC-11", "G-09"],
    changes: {
      receiver(receiver) {
        const { open, members } = tracking(receiver);
        return {
          ...members,
          async stop(signal) {
            await receiver.settle([...open].map((delivery) => ({ delivery, accept: false, release: "returned" })));
            await receiver.stop(signal);
          },
        };
      },
    },
  },
  {
    name: "close-never-resolves",
    defect: "close of a receiver hangs",
    killedBy: ["LC-01", "LC-03"],
    changes: { receiver: () => ({ close: () => never<void>(), stop: () => never<void>() }) },
  },
  {
    name: "an-empty-read-is-an-error",
    defect: "a receive without records rejects",
    killedBy: ["DL-03"],
    changes: {
      receiver: (receiver) => ({
        async receive(max, signal) {
          const deliveries = await receiver.receive(max, signal);
          if (deliveries?.length === 0) throw new Error("nothing there");
          return deliveries;
        },
      }),
    },
  },
  {
    name: "receive-ignores-its-signal",
    defect: "an aborted receive goes on waiting",
    killedBy: ["DL-03"],
    changes: { receiver: (receiver) => ({ receive: (max) => receiver.receive(max, live()) }) },
  },
  {
    name: "unlimited-window",
    defect: "hands out whatever there is, without regard to the window",
    killedBy: ["G-16"],
    changes: { options: (options) => ({ ...options, window: 1_000_000 }) },
  },
  {
    name: "one-at-a-time",
    defect: "hands out one delivery at a time, whatever the window is",
    killedBy: ["CC-01", "OR-05", "BA-03"],
    changes: { options: (options) => ({ ...options, window: 1 }) },
  },
  {
    name: "poison-stops-the-receiver",
    defect: "a body that is not text stops everything behind it",
    killedBy: ["PL-07", "PL-03"],
    changes: {
      receiver: (receiver) => ({
        async receive(max, signal) {
          const deliveries = await receiver.receive(max, signal);
          const broken = deliveries?.some(({ body }) => body && Buffer.from(body).toString("utf8").includes("\ufffd"));
          return broken ? never<readonly Delivery[]>() : deliveries;
        },
      }),
    },
  },
  {
    name: "renames-messages",
    defect: "every delivery has an id of its own",
    killedBy: ["PL-06", "DL-01", "PL-02"],
    changes: eachDelivery((delivery) => ({ ...delivery, id: `new-${delivery.id}` })),
  },
  {
    name: "forgets-the-time",
    defect: "the time of publication is the time of delivery, an hour late",
    killedBy: ["DL-01"],
    changes: eachDelivery((delivery) => ({ ...delivery, time: Date.now() + 3_600_000 })),
  },
  {
    name: "folds-header-names",
    defect: "header names come in upper case",
    killedBy: ["PL-01", "DL-01"],
    changes: eachDelivery((delivery) => {
      const headers = emptyHeaders();
      for (const [name, value] of Object.entries(delivery.headers))
        headers[name.startsWith("x-") ? name.toUpperCase() : name] = value;
      return { ...delivery, headers };
    }),
  },
  {
    name: "swaps-deliveries",
    defect: "hands out two records of a shard in the wrong order",
    killedBy: ["OR-01", "OR-03"],
    changes: {
      receiver: (receiver) => ({ receive: async (max, signal) => (await receiver.receive(max, signal))?.toReversed() }),
    },
  },
  {
    name: "order-is-ignored",
    defect: "members of an ordered group share shards",
    killedBy: ["G-20"],
    changes: {
      receiver: (receiver) => ({
        receive: async (max, signal) =>
          (await receiver.receive(max, signal))
            ?.toSorted((one, two) => (one.id ?? "").localeCompare(two.id ?? ""))
            .toReversed(),
      }),
    },
  },
  {
    name: "dead-letters-stay-on-the-source",
    defect: "sends a dead letter and does not settle the original",
    killedBy: ["RD-01", "RD-02"],
    changes: {
      receiver: (receiver) => ({
        async commit(units) {
          const halves = units.map(({ accept, send }) => ({
            accept: send.some((item) => item.to.deadLetter) ? [] : accept,
            send,
          }));
          return (await receiver.commit?.(halves)) ?? [];
        },
        settle: (settlements) => receiver.settle(settlements),
      }),
    },
  },
];
