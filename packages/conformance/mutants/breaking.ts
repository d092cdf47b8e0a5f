/** Defects that show when something else breaks: a process, a connection, the broker. */
import { eachDelivery, type Mutant, tracking } from "./mutant.ts";

export const breaking: readonly Mutant[] = [
  {
    name: "reconnect-forgets-subscriptions",
    defect: "after a broken connection nothing is delivered any more",
    killedBy: ["G-03"],
    changes: reconnecting(),
  },
  {
    name: "reconnect-over-the-wire-forgets-subscriptions",
    defect: "after a broken socket nothing is delivered any more",
    of: "wire",
    killedBy: ["G-04a", "G-04b", "G-04c"],
    changes: reconnecting(),
  },
  {
    name: "deaf-to-silence",
    defect: "a connection that answers nothing is kept for ever",
    of: "wire",
    killedBy: ["G-04b"],
    changes: { deaf: true },
  },
  {
    name: "confirms-without-an-answer",
    defect: "reports a record as stored when it is on its way",
    of: "wire",
    killedBy: ["G-11"],
    changes: {
      sender: (sender) => ({
        async send(items, signal) {
          void sender.send(items, signal);
          return items.map(() => ({ outcome: "stored" }));
        },
      }),
    },
  },
  {
    name: "slow-is-broken",
    defect: "sends again what was not confirmed within 40 ms",
    of: "wire",
    killedBy: ["G-04d"],
    changes: {
      sender: (sender) => ({
        async send(items, signal) {
          const sending = sender.send(items, signal);
          const late = new Promise<"late">((resolve) => setTimeout(resolve, 40, "late"));
          const first = await Promise.race([sending, late]);
          return first === "late" ? sender.send(items, signal) : first;
        },
      }),
    },
  },
  {
    name: "blames-the-neighbours",
    defect: "what a dead process held counts as handed out four times more",
    killedBy: ["G-06"],
    changes: eachDelivery((delivery) => {
      const { deliveries = 1 } = delivery;
      return { ...delivery, deliveries: deliveries > 1 ? deliveries + 4 : 1 };
    }),
  },
  {
    name: "blames-who-comes-next",
    defect: "what comes after dead processes that held nothing counts as handed out by each of them",
    killedBy: ["G-06b"],
    changes: deathsCount(),
  },
  {
    name: "commits-past-a-gap",
    defect: "a log settles everything before the highest accepted record, accepted or not",
    of: "log",
    killedBy: ["AK-04"],
    changes: {
      receiver(receiver) {
        const { open, members } = tracking(receiver);
        return {
          ...members,
          async settle(settlements) {
            const inOrder = [...open];
            const highest = Math.max(...settlements.map(({ delivery }) => inOrder.indexOf(delivery)));
            const older = inOrder.slice(0, highest + 1);
            for (const delivery of older) open.delete(delivery);
            await receiver.settle(older.map((delivery) => ({ delivery, accept: true })));
            return settlements.map(() => "recorded");
          },
        };
      },
    },
  },
];

/** Each connection that broke is one delivery more for whatever comes later. */
function deathsCount(): Mutant["changes"] {
  let deaths = 0;
  return {
    connection(connection) {
      void connection.closed.then((error) => (deaths += error ? 1 : 0));
      return {};
    },
    ...eachDelivery((delivery) => ({ ...delivery, deliveries: (delivery.deliveries ?? 1) + deaths })),
  };
}

/** Connections that are opened after one was broken have receivers that get nothing. */
function reconnecting(): Mutant["changes"] {
  const broken = new Set<string>();
  return {
    connection(connection, { clientName }) {
      const forgets = broken.has(clientName);
      void connection.closed.then((error) => error && broken.add(clientName));
      if (!forgets) return {};
      return {
        async receiver(sources, options) {
          const receiver = await connection.receiver(sources, options);
          await receiver.stop(new AbortController().signal);
          return receiver;
        },
      };
    },
  };
}
