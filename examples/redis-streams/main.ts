// Events in a stream: groups that read it from the beginning whenever they are added, and a cache on every instance.
import { randomUUID } from "node:crypto";
import { type Bus, connect, type Driver, topic } from "@sluice/core";
import { memory } from "@sluice/memory";
import { redis } from "@sluice/redis";

interface Price {
  readonly article: string;
  readonly cents: number;
}

// A topic of its own for each run of this example, so that the stream begins empty.
const run = randomUUID().slice(0, 8);
const PriceChanged = topic<Price>(`prices.${run}`, { key: ({ article }) => article, groups: ["archive"], shards: 2 });

/** Redis when REDIS_URL says where it is; otherwise a broker inside this process. */
function chooseDriver(): Driver {
  const { REDIS_URL } = process.env;
  return REDIS_URL ? redis({ url: REDIS_URL, retentionMs: 3_600_000 }) : memory();
}

/** Every instance keeps all prices: a broadcast. */
async function startCache(
  bus: Bus,
): Promise<{ readonly prices: ReadonlyMap<string, number>; readonly full: Promise<void> }> {
  const prices = new Map<string, number>();
  const full = Promise.withResolvers<void>();
  await bus.subscribe(PriceChanged, { broadcast: "cache" }, ({ article, cents }) => {
    prices.set(article, cents);
    if (prices.get("tea") === 310 && prices.get("milk") === 125) full.resolve();
  });
  return { prices, full: full.promise };
}

const driver = chooseDriver();
const instances = [await connect(driver), await connect(driver)];
const [bus] = instances as [Bus, Bus];
const caches = await Promise.all(instances.map(startCache));

const changes = [
  { article: "tea", cents: 290 },
  { article: "milk", cents: 119 },
  { article: "tea", cents: 310 },
  { article: "milk", cents: 125 },
];
for (const change of changes) await bus.publish(PriceChanged, change);
await Promise.all(caches.map(({ full }) => full));
for (const [index, { prices }] of caches.entries()) {
  console.log(`cache of instance ${index + 1}: tea ${prices.get("tea")}, milk ${prices.get("milk")}`);
}

/** Reads what the stream still has, as a group of this name. */
async function readAll(group: string): Promise<string[]> {
  const seen: string[] = [];
  const complete = Promise.withResolvers<void>();
  const reader = await bus.subscribe(PriceChanged, { group, start: "earliest" }, ({ article, cents }) => {
    seen.push(`${article} ${cents}`);
    if (seen.length === changes.length) complete.resolve();
  });
  await complete.promise;
  await reader.drain();
  // Prices of one article come in order; tea and milk may pass each other.
  return seen.toSorted();
}

// The archive is one of the topic's groups: everything was kept for it, although nobody ran it.
console.log(`archive: ${(await readAll("archive")).join(", ")}`);
// A group that nobody had thought of starts with what the stream still has.
console.log(`report, added later: ${(await readAll("report")).join(", ")}`);
await Promise.all(instances.map((instance) => instance.close()));
