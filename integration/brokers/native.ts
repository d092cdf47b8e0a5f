import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { guard } from "./guard.ts";
import { kinds } from "./kinds.ts";
import type { ManagedProcess } from "./process.ts";
import { untilReady } from "./ready.ts";
import type { BrokerAddress, BrokerControl, BrokerName, BrokerRequest, RunningBroker, StopMode } from "./types.ts";

/** A temporary folder that is removed at the end, however that comes. */
async function temporaryFolder(name: string): Promise<{ readonly path: string; readonly remove: () => Promise<void> }> {
  const path = await mkdtemp(join(tmpdir(), `sluice-${name}-`));
  const forget = guard({ kind: "directory", path });
  const remove = async (): Promise<void> => {
    await rm(path, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
    forget();
  };
  return { path, remove };
}

/** A prepared process, and what clients connect to. */
export interface NativeBroker {
  readonly version: string;
  readonly keepsData: boolean;
  readonly address: BrokerAddress;
  /** For those who start it, beside the ones that lead to its address. */
  readonly variables?: Readonly<Record<string, string>>;
  readonly node: ManagedProcess;
  /** What has to run beside it, started before and stopped after. */
  readonly helper?: ManagedProcess;
  readonly memoryAlarm?: (on: boolean) => Promise<void>;
  readonly rabbitmqctl?: (...words: readonly string[]) => Promise<void>;
}

/** Starts what `prepare` puts into a temporary folder, and waits until it serves; leaves nothing behind when it does not. */
export async function startNative(
  { broker }: BrokerRequest,
  prepare: (directory: string) => Promise<NativeBroker>,
): Promise<RunningBroker> {
  const since = Date.now();
  const folder = await temporaryFolder(broker);
  return orUndo(folder.remove, async () => {
    const native = await prepare(folder.path);
    const { address, helper, keepsData, node } = native;
    const kind = kinds[broker];
    const stop = async (): Promise<void> => {
      await node.stop("kill");
      await helper?.stop("kill");
      await folder.remove();
    };
    const version = await orUndo(stop, async () => {
      await helper?.start();
      await node.start();
      return untilServing(broker, node, address);
    });
    return {
      broker,
      provider: "native",
      version: version ?? native.version,
      environment: kind.environment(address),
      keepsData,
      address,
      environmentVariables: { ...kind.variables(address), ...native.variables },
      readyAfter: Date.now() - since,
      control: controlOf(broker, native),
      local: { pid: () => node.pid, directory: folder.path, log: node.spec.log },
      stop,
    };
  });
}

/** Waits for a started process to serve; fails at once, with its log, if it has ended. */
function untilServing(broker: BrokerName, node: ManagedProcess, address: BrokerAddress): Promise<string | undefined> {
  return untilReady(broker, address, {
    hopeless: () => (node.running ? undefined : node.ending),
    tail: () => node.tail(),
  });
}

function controlOf(broker: BrokerName, { address, memoryAlarm, rabbitmqctl, node }: NativeBroker): BrokerControl {
  const stop = (mode: StopMode): Promise<void> => node.stop(mode);
  const start = async (): Promise<void> => {
    await node.start();
    await untilServing(broker, node, address);
  };
  const restart = async (mode: StopMode): Promise<void> => {
    await stop(mode);
    await start();
  };
  return { restart, stop, start, ...(memoryAlarm && { memoryAlarm }), ...(rabbitmqctl && { rabbitmqctl }) };
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
