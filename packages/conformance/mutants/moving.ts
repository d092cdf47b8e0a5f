/** Defects of copies: retries in a group's own entry, and dead letters. */
import type { SendItem } from "@sluice/core/driver";
import { eachItem, mapBody, mapHeaders, type Mutant, withHeaders } from "./mutant.ts";

const isOwnEntry = ({ to }: SendItem): boolean => to.group !== undefined && to.deadLetter !== true;
const isDeadLetter = ({ to }: SendItem): boolean => to.deadLetter === true;

export const moving: readonly Mutant[] = [
  {
    name: "loses-retries",
    defect: "a retry that goes through the group's own entry never comes back",
    killedBy: ["PL-09", "G-23", "RD-01", "AK-02"],
    changes: eachItem((item) => (isOwnEntry(item) ? undefined : item)),
  },
  {
    name: "retry-loses-headers",
    defect: "the copy in the group's own entry has no headers but Sluice's own",
    killedBy: ["PL-08"],
    changes: eachItem((item) =>
      isOwnEntry(item)
        ? mapHeaders(item, (name, value) => (name === "content-type" ? [name, value] : undefined))
        : item,
    ),
  },
  {
    name: "attempt-is-always-one",
    defect: "the copy in the group's own entry has lost its count of attempts",
    killedBy: ["PL-09", "GR-04"],
    changes: eachItem((item) => {
      const { "sluice-attempts": _, ...headers } = item.record.headers;
      return isOwnEntry(item)
        ? withHeaders(item, Object.assign(Object.create(null) as Record<string, string>, headers))
        : item;
    }),
  },
  {
    name: "retry-changes-the-body",
    defect: "the copy in the group's own entry has another body",
    killedBy: ["PL-08"],
    changes: eachItem((item) =>
      isOwnEntry(item)
        ? mapBody(item, (body) =>
            Buffer.from(
              Buffer.from(body)
                .toString()
                .replace(/x(?=[^x]*$)/, "y"),
            ),
          )
        : item,
    ),
  },
  {
    name: "retries-and-redrives-reach-all-groups",
    defect: "what is meant for one group's own entry is sent to the topic",
    killedBy: ["GR-04", "RD-06"],
    changes: eachItem((item) => (isOwnEntry(item) ? { ...item, to: { topic: item.to.topic ?? "" } } : item)),
  },
  {
    name: "loses-dead-letters",
    defect: "confirms a dead letter and does not store it",
    killedBy: ["RD-01", "RD-02", "PL-07", "BA-04"],
    changes: eachItem((item) => (isDeadLetter(item) ? undefined : item)),
  },
  {
    name: "dead-letter-without-reason",
    defect: "a dead letter has lost why",
    killedBy: ["RD-02", "RD-03"],
    changes: eachItem((item) =>
      isDeadLetter(item)
        ? mapHeaders(item, (name, value) => (name.startsWith("dlq-") ? undefined : [name, value]))
        : item,
    ),
  },
  {
    name: "dead-letter-without-headers",
    defect: "a dead letter has its reason and has lost its own headers",
    killedBy: ["RD-03"],
    changes: eachItem((item) =>
      isDeadLetter(item)
        ? mapHeaders(item, (name, value) => (name.startsWith("dlq-") ? [name, value] : undefined))
        : item,
    ),
  },
];
