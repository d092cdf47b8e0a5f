// A member that dies between any two steps of a transaction: every input has exactly one output that a committed reader sees.
import { type ChildProcess, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { connect, topic } from "@sluice/core";
import { kafka } from "@sluice/kafka";
import { Kafka, logLevel } from "kafkajs";
import { afterAll, expect, onTestFinished, test } from "vitest";
import { brokers } from "../brokers/index.ts";
import type { PipelineTask } from "../faults/kafka-pipeline.ts";

const child = fileURLToPath(new URL("../faults/kafka-pipeline.ts", import.meta.url));
const count = 1_500;
/** So far into its work a member dies that nobody holds the same records three times: they would be taken for their killers. */
const transactions = 24;
const deaths = (["addPartitions", "produce", "addOffsets", "commitOffsets", "end"] as const).flatMap((at) =>
  (["before", "after"] as const).map((when) => ({ at, when, count: transactions })),
);

const started = await brokers([{ broker: "kafka" }]);
process.stdout.write(`${started.table()}\n`);
afterAll(() => started.stopAll(), 60_000);
const [running] = started.available;
const address = running?.address.kind === "brokers" ? running.address.brokers : [];

function start(task: PipelineTask): ChildProcess {
  const conditions = ["--conditions=@sluice/source", "--disable-warning=TimeoutNegativeWarning"];
  const process = spawn(globalThis.process.execPath, [...conditions, child, JSON.stringify(task)], {
    stdio: ["ignore", "ignore", "inherit"],
  });
  onTestFinished(() => void process.kill("SIGKILL"));
  return process;
}

/** Reads committed records of the output from its beginning; resolves when `enough` of what came so far. */
async function outputs(name: string, enough: (numbers: readonly number[]) => boolean): Promise<readonly number[]> {
  const client = new Kafka({ brokers: [...address], logLevel: logLevel.NOTHING });
  const consumer = client.consumer({ groupId: randomUUID(), readUncommitted: false, maxWaitTimeInMs: 100 });
  const numbers: number[] = [];
  const done = Promise.withResolvers<void>();
  await consumer.connect();
  await consumer.subscribe({ topic: name, fromBeginning: true });
  await consumer.run({
    autoCommit: false,
    eachMessage: async ({ message }) => {
      const { n } = JSON.parse(String(message.value)) as { n: number };
      if (n >= 0) numbers.push(n);
      if (enough(numbers)) done.resolve();
    },
  });
  await done.promise;
  await consumer.disconnect();
  return numbers;
}

test.skipIf(!running)(
  "killed at every step, a pipeline leaves one committed output for each input",
  { timeout: 300_000 },
  async () => {
    const id = randomUUID();
    const task = { brokers: address, input: `in-${id}`, output: `out-${id}`, group: "pipeline" };
    const bus = await connect(kafka({ brokers: address }));
    const input = topic<{ n: number }>(task.input, { groups: [task.group], shards: 2 });
    await Promise.all(Array.from({ length: count }, (_, n) => bus.publish(input, { n })));
    await bus.close();
    for (const dies of deaths) {
      const [code, signal] = (await once(start({ ...task, dies }), "exit")) as [number | null, string | null];
      expect({ dies, code, signal }).toEqual({ dies, code: null, signal: "SIGKILL" });
    }
    const last = start(task);
    const found = await outputs(task.output, (numbers) => new Set(numbers).size === count);
    last.kill("SIGTERM");
    expect(await once(last, "exit")).toEqual([0, null]);
    expect(found.toSorted((one, other) => one - other)).toEqual(Array.from({ length: count }, (_, n) => n));
    // And nothing came later: what was drained is all there is.
    expect(await outputs(task.output, (numbers) => numbers.length >= found.length)).toHaveLength(count);
  },
);

test.skipIf(!running)(
  "records of aborted transactions that overlap are never handed out",
  { timeout: 60_000 },
  async () => {
    const id = randomUUID();
    const client = new Kafka({ brokers: [...address], logLevel: logLevel.NOTHING });
    const bus = await connect(kafka({ brokers: address }));
    const output = topic<{ n: number }>(`overlap-${id}`, { groups: ["g"], shards: 1 });
    await bus.provision([output]);
    const producers = ["one", "other"].map((name) =>
      client.producer({ transactionalId: `${name}-${id}`, idempotent: true, maxInFlightRequests: 1 }),
    );
    await Promise.all(producers.map((producer) => producer.connect()));
    const [one, other] = await Promise.all(producers.map((producer) => producer.transaction()));
    const send = (transaction: typeof one, n: number) =>
      transaction?.send({ topic: output.name, messages: [{ value: JSON.stringify({ n }), partition: 0 }] });
    // The one that begins first ends last: brokers list aborted transactions by their ends.
    await send(one, 1);
    await send(other, 2);
    await other?.abort();
    await send(one, 3);
    await one?.abort();
    const committed = await producers[0]?.transaction();
    await send(committed, 4);
    await committed?.commit();
    await bus.publish(output, { n: 5 });
    const seen: number[] = [];
    const done = Promise.withResolvers<void>();
    await bus.subscribe(output, { group: "g" }, ({ n }) => {
      seen.push(n);
      if (n === 5) done.resolve();
    });
    await done.promise;
    expect(seen).toEqual([4, 5]);
    await bus.close();
    await Promise.all(producers.map((producer) => producer.disconnect()));
  },
);
