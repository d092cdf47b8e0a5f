// Work queue: pictures wait, workers take one at a time, and a slow or failing one holds nobody up.
import { randomUUID } from "node:crypto";
import { type Bus, connect, type Driver, PermanentError, topic } from "@sluice/core";
import { memory } from "@sluice/memory";
import { rabbitmq } from "@sluice/rabbitmq";

interface Job {
  readonly picture: string;
  readonly width: number;
}

// No key: no order, so that every worker takes what comes next.
const Thumbnails = topic<Job>("work.thumbnails", { groups: ["workers"] });

/** RabbitMQ when RABBITMQ_URL says where it is; otherwise a broker inside this process. */
function chooseDriver(): Driver {
  const { RABBITMQ_URL } = process.env;
  return RABBITMQ_URL ? rabbitmq({ url: RABBITMQ_URL }) : memory();
}

const failedOnce = new Set<string>();

function resize({ picture, width }: Job): string {
  if (picture.endsWith(".txt")) throw new PermanentError(`${picture} is no picture`);
  if (picture.startsWith("big") && !failedOnce.has(picture)) {
    failedOnce.add(picture);
    throw new Error("out of memory");
  }
  return `${picture} at ${width} px`;
}

/** One worker: holds one job, and takes the next when it is done. Another process may be another worker. */
async function work(bus: Bus, done: (line: string) => void): Promise<void> {
  // A retry after more than 10 ms waits on the broker, in the group's own entry: the worker is free meanwhile.
  const retry = { attempts: 5, firstDelay: "100ms", inPlace: "10ms" } as const;
  await bus.subscribe(Thumbnails, { group: "workers", concurrency: 1, window: 1, retry }, (job) => done(resize(job)));
}

const driver = chooseDriver();
const workers = [await connect(driver, { clientName: "worker-1" }), await connect(driver, { clientName: "worker-2" })];
const [bus] = workers as [Bus, Bus];
const run = randomUUID().slice(0, 8);
const lines: string[] = [];
for (const worker of workers) await work(worker, (line) => lines.push(line));

const pictures = ["cat.png", "big-dog.png", "notes.txt", "tree.png", "sea.png"];
const ids = pictures.map((picture) => `${run}-${picture}`);
// Whichever worker it is: the last word about each job.
const fates = ids.map((id) =>
  Promise.race(
    workers.flatMap((worker) =>
      (["done", "dead-letter"] as const).map((fate) => worker.settled(Thumbnails, { group: "workers", id, fate })),
    ),
  ),
);
await Promise.all(
  pictures.map((picture, index) => bus.publish(Thumbnails, { picture, width: 128 }, { id: ids[index] ?? picture })),
);
await Promise.all(fates);

const { letters } = await bus.deadLetters(Thumbnails, { group: "workers" }).list();
for (const letter of letters.filter(({ id }) => id?.startsWith(run))) {
  lines.push(`given up, ${letter.reason}: ${letter.errorMessage}`);
}
await Promise.all(workers.map((worker) => worker.drain()));
console.log(lines.toSorted().join("\n"));
