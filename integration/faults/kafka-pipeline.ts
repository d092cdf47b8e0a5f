/** A transactional subscription in a process of its own, which kills itself at one step of its protocol. Told by its argument. */
import { Socket } from "node:net";
import { connect, topic } from "@sluice/core";
import { kafka } from "@sluice/kafka";

export interface PipelineTask {
  readonly brokers: readonly string[];
  readonly input: string;
  readonly output: string;
  readonly group: string;
  /** The request at which it dies, and whether that request still goes out. Absent: it lives until it is stopped. */
  readonly dies?: { readonly at: Step; readonly when: "before" | "after"; readonly count: number };
}

/** Requests of a transaction, by the number of their API. */
export const steps = {
  addPartitions: 24,
  produce: 0,
  addOffsets: 25,
  commitOffsets: 28,
  end: 26,
} as const;
export type Step = keyof typeof steps;

/** Long enough for the request to reach the broker, too short for what follows it. */
const onItsWayMs = 5;

function dieAt({ at, when, count }: NonNullable<PipelineTask["dies"]>): void {
  // oxlint-disable-next-line typescript/unbound-method -- called with its own `this` below
  const write = Socket.prototype.write;
  let seen = 0;
  const watching = function (this: Socket, ...values: unknown[]): boolean {
    const [frame] = values;
    const found = Buffer.isBuffer(frame) && frame.length >= 6 && frame.readInt16BE(4) === steps[at];
    const now = found && ++seen === count;
    if (now && when === "before") process.kill(process.pid, "SIGKILL");
    if (now) setTimeout(() => process.kill(process.pid, "SIGKILL"), onItsWayMs);
    return Reflect.apply(write, this, values) as boolean;
  };
  Socket.prototype.write = watching as typeof write;
}

if (process.argv[2] !== undefined) {
  const task = JSON.parse(process.argv[2]) as PipelineTask;
  const input = topic<{ n: number }>(task.input, { groups: [task.group], shards: 2 });
  const output = topic<{ n: number }>(task.output, { shards: 2 });
  const bus = await connect(kafka({ brokers: task.brokers, sessionTimeout: 6_000, rebalanceTimeout: 10_000 }));
  await bus.publish(output, { n: -1 });
  if (task.dies) dieAt(task.dies);
  await bus.subscribe(
    input,
    { group: task.group, transactional: true, concurrency: 4, window: 8 },
    async (message, context) => {
      await context.publish(output, message, { id: `out-${message.n}` });
    },
  );
  process.stdout.write("live\n");
  await bus.run();
}
