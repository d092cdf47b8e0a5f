import { DriverError, type Runtime, type SendItem } from "@sluice/core/driver";
import type { Directory } from "./directory.ts";
import type { Names } from "./names.ts";

/** Where an item goes on the broker. */
export interface Route {
  readonly kind: "topic" | "queue";
  readonly name: string;
  /** Arn or url. */
  readonly address: string;
  readonly fifo: boolean;
  readonly deadLetters: boolean;
  /** `here`: the destination keeps the delay itself, `elsewhere`: it goes to the waiting place first. */
  readonly waits: "here" | "elsewhere" | undefined;
}

/** @throws DriverError NOT_FOUND for a topic that does not exist, UNROUTABLE for what nobody keeps */
export async function findRoute(
  item: SendItem,
  parts: { readonly directory: Directory; readonly names: Names; readonly runtime: Runtime },
): Promise<Route> {
  const { to } = item;
  const { directory, names, runtime } = parts;
  const waits = item.notBefore !== undefined && item.notBefore > runtime.wallMs();
  if (to.group === undefined) {
    // Also for one that has to wait: its sender shall know now that it goes nowhere.
    const { name, arn, fifo } = await directory.topic(to.topic);
    if (!(await directory.hasReaders(arn))) throw unroutable(`topic "${to.topic}" has no subscription`);
    if (waits) return waiting(directory, names);
    return { kind: "topic", name, address: arn, fifo, deadLetters: false, waits: undefined };
  }
  const deadLetters = to.deadLetter === true;
  const { name, url, fifo } = await keptBy(item, directory);
  // A FIFO queue delays all of its messages or none.
  if (waits && fifo) return waiting(directory, names);
  return { kind: "queue", name, address: url, fifo, deadLetters, waits: waits ? "here" : undefined };
}

async function keptBy({ to }: SendItem, directory: Directory) {
  try {
    return await directory.groupQueue(to.topic, to.group ?? "", to.deadLetter === true);
  } catch (error) {
    if (!(error instanceof DriverError) || error.code !== "NOT_FOUND") throw error;
    const what = to.deadLetter ? "dead letters" : "own entry";
    throw unroutable(`the ${what} of group "${to.group}" of topic "${to.topic}" have no queue`, error);
  }
}

async function waiting(directory: Directory, names: Names): Promise<Route> {
  const { name, url } = await directory.queue(names.waiting());
  return { kind: "queue", name, address: url, fifo: false, deadLetters: false, waits: "elsewhere" };
}

function unroutable(what: string, cause?: unknown): DriverError {
  return new DriverError("UNROUTABLE", `sqs-sns: ${what}; subscribe a group, or name it in the topic's groups`, {
    ...(cause !== undefined && { cause }),
  });
}
