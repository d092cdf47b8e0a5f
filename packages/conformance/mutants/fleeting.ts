/** Defects of what keeps nothing, and of broadcasts. */
import type { DriverEvent } from "@sluice/core/driver";
import type { Mutant } from "./mutant.ts";

export const fleeting: readonly Mutant[] = [
  {
    name: "promises-more-than-it-keeps",
    defect: "a channel that keeps nothing says at-least-once",
    of: "channel",
    killedBy: ["AM-01"],
    changes: {
      connection: (connection) => ({ capabilities: { ...connection.capabilities, delivery: "at-least-once" } }),
    },
  },
  {
    name: "takes-a-group-for-a-broadcast",
    defect: "a channel without groups opens a receiver for one",
    of: "channel",
    killedBy: ["AM-02"],
    changes: {
      sources: async (sources) =>
        sources.map((source, index) =>
          "group" in source ? { topic: source.topic, broadcast: source.group, instance: `${index}` } : source,
        ),
    },
  },
  {
    name: "gaps-are-not-told",
    defect: "reports no gap",
    killedBy: ["GR-10"],
    changes: {
      connect(driver, context) {
        const report = (event: DriverEvent) => void (event.kind !== "gap" && context.report(event));
        return driver.connect({ ...context, report });
      },
    },
  },
  {
    name: "a-channel-loses-while-all-is-well",
    defect: "every tenth message of a channel reaches nobody",
    of: "channel",
    killedBy: ["DL-01", "DL-04", "LC-06", "BA-01", "OB-03"],
    changes: {
      receiver(receiver) {
        let number = 0;
        return {
          receive: async (max, signal) => (await receiver.receive(max, signal))?.filter(() => ++number % 10 !== 7),
        };
      },
    },
  },
];
