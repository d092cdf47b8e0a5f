import type { BusCore } from "./bus-core.ts";
import { fromDriver } from "./driver-failure.ts";
import { DriverError, type Position } from "./driver/index.ts";
import { SluiceError } from "./errors.ts";
import { type AnyTopic, checkName } from "./topic.ts";

export interface SeekOptions {
  readonly group: string;
  /** Everything retained, what is sent from now on, what was sent from a time on, or the broker's own word for a position. */
  readonly to: "earliest" | "now" | Date | { readonly native: string };
  readonly signal?: AbortSignal;
}

/** Behind `bus.seek`. */
export async function seek(
  { driver, keeper, declarations }: BusCore,
  topic: AnyTopic,
  { group, to, signal = new AbortController().signal }: SeekOptions,
): Promise<void> {
  checkName("group", group);
  if (driver.capabilities.seek === "absent") {
    const help = "redrive dead letters, or publish the messages again";
    throw new SluiceError("UNSUPPORTED", `${driver.name}: a group cannot be moved on this broker; ${help}`);
  }
  const position = positionOf(to);
  declarations.addTopic(topic);
  const source = { topic: topic.name, group, start: "now" } as const;
  try {
    const connection = await keeper.connection(signal);
    if (!connection.seek) throw new DriverError("UNSUPPORTED", `${driver.name}: this connection cannot move a group`);
    await connection.seek(source, position, signal);
  } catch (error) {
    throw fromDriver(error);
  }
}

function positionOf(to: SeekOptions["to"]): Position {
  if (!(to instanceof Date)) return to;
  const time = to.getTime();
  if (!Number.isNaN(time)) return { time };
  throw new SluiceError("CONFIG", "sluice: seek to an invalid Date; give a valid one, 'earliest' or 'now'");
}
