import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { guard } from "./guard.ts";
import type { ManagedProcess } from "./process.ts";
import { untilReady } from "./ready.ts";
import type { BrokerAddress, BrokerControl, StopMode } from "./types.ts";

/** A temporary folder that is removed at the end, however that comes. */
export async function temporaryFolder(
  name: string,
): Promise<{ readonly path: string; readonly remove: () => Promise<void> }> {
  const path = await mkdtemp(join(tmpdir(), `sluice-${name}-`));
  const forget = guard({ kind: "directory", path });
  const remove = async (): Promise<void> => {
    await rm(path, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
    forget();
  };
  return { path, remove };
}

/** Waits for a started process to serve; fails at once, with its log, if it has ended. */
export function untilServing(process: ManagedProcess, address: BrokerAddress): Promise<string | undefined> {
  return untilReady(address, {
    hopeless: () => (process.running ? undefined : process.ending),
    tail: () => process.tail(),
  });
}

export function controlOf(process: ManagedProcess, address: BrokerAddress): BrokerControl {
  const stop = (mode: StopMode): Promise<void> => process.stop(mode);
  const start = async (): Promise<void> => {
    await process.start();
    await untilServing(process, address);
  };
  const restart = async (mode: StopMode): Promise<void> => {
    await stop(mode);
    await start();
  };
  return { restart, stop, start };
}

/** Runs `action`, and `undo` if it fails. */
export async function orUndo<T>(undo: () => Promise<void>, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    await undo();
    throw error;
  }
}
