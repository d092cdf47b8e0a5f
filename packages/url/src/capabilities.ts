import type { Capabilities, DelaySupport, Driver, Support } from "@sluice/core/driver";

type Present = Exclude<Support, "absent">;
type PresentDelay = Exclude<DelaySupport, "absent">;

/** What every broker with groups has: only this compiles on a bus whose broker is chosen at run time. */
export interface PortableCapabilities extends Capabilities {
  readonly delivery: "at-least-once";
  readonly group: Present;
  readonly broadcast: Present;
  readonly ordered: Present;
  readonly headers: Present;
  readonly filter: Present;
  readonly delay: { readonly group: PresentDelay; readonly topic: PresentDelay };
  readonly browse: Present;
  readonly deadLetter: Present;
  readonly priority: "absent";
  readonly transactions: "absent";
  readonly seek: "absent";
  readonly earliest: "absent";
}

/** What every broker has, Redis Pub/Sub included: broadcasts of messages that may be lost. */
export interface AtMostOnceCapabilities extends Capabilities {
  readonly delivery: "at-most-once";
  readonly broadcast: Present;
  readonly headers: "absent";
  readonly filter: "absent";
  readonly group: "absent";
  readonly ordered: "absent";
  readonly delay: { readonly group: "absent"; readonly topic: "absent" };
  readonly browse: "absent";
  readonly deadLetter: "absent";
  readonly priority: "absent";
  readonly transactions: "absent";
  readonly seek: "absent";
  readonly earliest: "absent";
}

/** The same driver with a lower floor: what not every broker has is refused on each of them. */
export function portable({ capabilities, ...driver }: AnyDriver): Driver<PortableCapabilities> {
  const { group, broadcast, ordered, headers, filter, delay, browse, deadLetter } = capabilities;
  return {
    ...driver,
    capabilities: {
      ...capabilities,
      delivery: "at-least-once",
      group: present(group),
      broadcast: present(broadcast),
      ordered: present(ordered),
      headers: present(headers),
      filter: present(filter),
      delay: { group: present(delay.group), topic: present(delay.topic) },
      browse: present(browse),
      deadLetter: present(deadLetter),
      priority: "absent",
      transactions: "absent",
      seek: "absent",
      earliest: "absent",
    },
  };
}

/** The same driver with the floor of the weakest broker. */
export function atMostOnce({ capabilities, ...driver }: AnyDriver): Driver<AtMostOnceCapabilities> {
  const { broadcast } = capabilities;
  return {
    ...driver,
    capabilities: {
      ...capabilities,
      delivery: "at-most-once",
      broadcast: present(broadcast),
      headers: "absent",
      filter: "absent",
      group: "absent",
      ordered: "absent",
      delay: { group: "absent", topic: "absent" },
      browse: "absent",
      deadLetter: "absent",
      priority: "absent",
      transactions: "absent",
      seek: "absent",
      earliest: "absent",
    },
  };
}

/** A driver as the factories return it, its methods as functions. */
export type AnyDriver = Pick<Driver, "name" | "system" | "capabilities" | "topology" | "connect">;

function present<S extends DelaySupport>(support: S): Exclude<S, "absent"> {
  // A driver without it would break the promise of the type; the tests hold every driver against it.
  if (support === "absent") throw new Error("url: the driver lacks a portable capability; use the adapter directly");
  return support as Exclude<S, "absent">;
}
