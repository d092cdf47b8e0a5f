// Readings → means per sensor and window → alarms: three topics, two steps, each in the order of its key.
import { randomUUID } from "node:crypto";
import { type Bus, connect, type Driver, topic } from "@sluice/core";
import { kafka } from "@sluice/kafka";
import { memory } from "@sluice/memory";
import { Means, type Mean, type Reading } from "./means.ts";

const Readings = topic<Reading>("pipeline.readings", { key: ({ sensor }) => sensor, groups: ["means"], shards: 4 });
const WindowMeans = topic<Mean>("pipeline.means", { key: ({ sensor }) => sensor, groups: ["alarms"], shards: 4 });
const Alarms = topic<Mean>("pipeline.alarms", { key: ({ sensor }) => sensor, groups: ["pager"], shards: 4 });

/** Kafka when KAFKA_BROKERS says where it is; otherwise a broker inside this process. */
function chooseDriver(): Driver {
  const { KAFKA_BROKERS } = process.env;
  return KAFKA_BROKERS ? kafka({ brokers: KAFKA_BROKERS.split(",") }) : memory();
}

/** One instance. Start as many as there are shards: each gets some of them, and keeps the order inside. */
async function startPipeline(bus: Bus, page: (alarm: Mean) => void): Promise<void> {
  const means = new Means(4);
  await bus.subscribe(Readings, { group: "means" }, async (reading, context) => {
    const mean = means.add(reading);
    // Published with this message's id as the base: should the process die here and the reading come again, the second copy is
    // recognised by its id.
    if (mean) await context.publish(WindowMeans, mean, { id: `${context.message.id}.mean` });
  });
  await bus.subscribe(WindowMeans, { group: "alarms" }, async (mean, context) => {
    if (mean.value > 80) await context.publish(Alarms, mean, { id: `${context.message.id}.alarm` });
  });
  await bus.subscribe(Alarms, { group: "pager" }, (alarm) => page(alarm));
}

const bus = await connect(chooseDriver(), { clientName: "pipeline" });
const run = randomUUID().slice(0, 8);
const alarms: string[] = [];
const last = bus.settled(Alarms, { group: "pager", id: `${run}-boiler-11.mean.alarm` });
await startPipeline(bus, ({ sensor, window, value }) => {
  if (sensor.startsWith(run)) alarms.push(`${sensor.slice(run.length + 1)}, window ${window}: ${value}`);
});

// Three windows of four readings each; the last one of the boiler is too hot.
const producer = bus.producer(Readings);
for (let index = 0; index < 12; index++) {
  const results = await producer.sendBatch(
    [
      { sensor: `${run}-boiler`, celsius: 60 + 3 * index },
      { sensor: `${run}-cellar`, celsius: 12 },
    ].map((reading) => ({ payload: reading, options: { id: `${reading.sensor}-${index}` } })),
  );
  for (const result of results) if (result.status === "failed") throw result.error;
}
await last;
await bus.drain();
console.log(alarms.join("\n"));
