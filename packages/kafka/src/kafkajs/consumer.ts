import type { Consumer, EachBatchPayload } from "kafkajs";
import { DriverError, type Runtime } from "@sluice/core/driver";
import type { ConsumerClient, ConsumerEvents, ConsumerSettings } from "../client.ts";
import type { KafkaConfig } from "../options.ts";
import { within } from "../waiting.ts";
import { sluiceAssigner } from "./assigner.ts";
import { backOff } from "./back-off.ts";
import type { EngineRoom } from "./engine.ts";

const outOfRangeLog = "Offset out of range, resetting to default offset";

/** A consumer of one group; every one has its own `Kafka` object. */
export function createConsumer(
  config: KafkaConfig,
  engines: EngineRoom,
  runtime: Runtime,
  settings: ConsumerSettings,
  events: ConsumerEvents,
): ConsumerClient {
  const engine = engines.open({
    onLog({ log }) {
      if (log.message === outOfRangeLog) events.outOfRange(String(log["topic"]), Number(log["partition"]));
    },
  });
  let owned: Record<string, readonly number[]> = {};
  const consumer = engine.kafka.consumer({
    groupId: settings.groupId,
    partitionAssigners: [sluiceAssigner({ beforeJoin: () => events.beforeJoin(), owned: () => owned })],
    sessionTimeout: config.sessionTimeout,
    rebalanceTimeout: config.rebalanceTimeout,
    heartbeatInterval: config.heartbeatInterval,
    metadataMaxAge: config.metadataMaxAge,
    maxWaitTimeInMs: settings.fetchWait,
    maxBytesPerPartition: config.fetchBytes,
    allowAutoTopicCreation: false,
    // n.b. kafkajs' own restart cannot be cancelled by disconnect(): a crash ends this consumer, and core opens another.
    retry: { ...backOff, restartOnFailure: async () => false },
  });
  listen(consumer, events, (assignment) => (owned = assignment));
  const crash = Promise.withResolvers<never>();
  crash.promise.catch(() => {}); // nobody waits for it after the join
  consumer.on(consumer.events.CRASH, ({ payload }) => {
    engine.dispose();
    crash.reject(payload.error);
    events.crashed(payload.error);
  });
  return {
    async join() {
      await consumer.connect();
      await consumer.subscribe({ topics: [...settings.topics], fromBeginning: true });
      // n.b. run() resolves even when the join failed; the crash event says so.
      await Promise.race([run(consumer, events), crash.promise]);
    },
    ...controls(consumer),
    async close(graceMs) {
      await within(runtime, graceMs, consumer.disconnect());
      engine.dispose();
    },
  };
}

function listen(
  consumer: Consumer,
  events: ConsumerEvents,
  own: (assignment: Record<string, readonly number[]>) => void,
): void {
  let memberId = "";
  const { GROUP_JOIN, REBALANCING, HEARTBEAT, END_BATCH_PROCESS } = consumer.events;
  consumer.on(REBALANCING, () => events.rebalancing());
  consumer.on(HEARTBEAT, () => events.heartbeat());
  consumer.on(GROUP_JOIN, ({ payload }) => {
    const continued = payload.memberId === memberId;
    memberId = payload.memberId;
    own(payload.memberAssignment);
    events.joined(new Map(Object.entries(payload.memberAssignment)), continued);
  });
  // A batch of nothing but control records or aborted ones reaches no callback; without it the lag never returns to 0.
  consumer.on(END_BATCH_PROCESS, ({ payload: { topic, partition, batchSize, lastOffset } }) => {
    if (batchSize === 0) events.batch({ topic, partition, records: [], next: after(lastOffset) });
  });
}

async function run(consumer: Consumer, events: ConsumerEvents): Promise<void> {
  const joined = Promise.withResolvers<void>();
  const remove = consumer.on(consumer.events.GROUP_JOIN, () => joined.resolve());
  // n.b. an instrumentation of kafkajs makes spans of every fetched batch: not on consumers of ours.
  const wrapped: object = Reflect.get(consumer, "run");
  if (Reflect.get(wrapped, "__wrapped") === true) Reflect.set(consumer, "run", Reflect.get(wrapped, "__original"));
  await consumer.run({
    autoCommit: false,
    eachBatchAutoResolve: true,
    partitionsConsumedConcurrently: 4,
    // Takes the records and returns: while a callback runs, kafkajs fetches nothing more from that broker.
    eachBatch: async (fetched: EachBatchPayload) => {
      // Read before the place was changed: it comes again from there.
      if (fetched.isStale()) return;
      const { batch } = fetched;
      const { topic, partition, messages } = batch;
      events.batch({ topic, partition, records: messages, next: after(batch.lastOffset()) });
    },
  });
  await joined.promise;
  remove();
}

/** n.b. a crash stops the consumer some time before it is told; from then on its calls throw, and there is nothing left to steer. */
function controls(consumer: Consumer): Pick<ConsumerClient, "pause" | "resume" | "seek" | "commit"> {
  let stopped = false;
  let stored = 0;
  consumer.on(consumer.events.STOP, () => (stopped = true));
  consumer.on(consumer.events.COMMIT_OFFSETS, () => (stored += 1));
  return {
    pause(topic, partition) {
      if (!stopped) consumer.pause([{ topic, partitions: [partition] }]);
    },
    resume(topic, partition) {
      if (!stopped) consumer.resume([{ topic, partitions: [partition] }]);
    },
    seek(topic, partition, offset) {
      if (!stopped) consumer.seek({ topic, partition, offset: String(offset) });
    },
    async commit(positions) {
      const before = stored;
      if (stopped) throw lost();
      await consumer.commitOffsets(positions.map(({ offset, ...rest }) => ({ ...rest, offset: String(offset) })));
      // n.b. a commit while the consumer stops resolves like any other and stores nothing; only the event proves it.
      if (stored === before) throw lost();
    },
  };
}

function lost(): DriverError {
  return new DriverError("LOST", "kafka: commit: the consumer has stopped; nothing was stored");
}

function after(offset: string): string {
  return (BigInt(offset) + 1n).toString();
}
