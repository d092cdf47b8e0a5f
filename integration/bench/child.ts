/** One contender in one scenario, in a process of its own: told by its argument, answers with the last line of its output. */
import type { Contender, Finding, Task } from "./contender.ts";
import { makeOrder } from "./order.ts";
import { percentile } from "./statistics.ts";

/** Of the messages, this part comes before the clock starts: connections, topics and compiled code are ready then. */
const warmPart = 0.2;
const latencyStepMs = 10;

/** Time and processor time between two points. */
class Meter {
  #began = performance.now();
  #cpu = process.cpuUsage();

  restart(): void {
    this.#began = performance.now();
    this.#cpu = process.cpuUsage();
  }

  read(messages: number): Pick<Finding, "messagesPerSecond" | "cpuMicroseconds" | "peakMebibytes"> {
    const seconds = (performance.now() - this.#began) / 1000;
    const { user, system } = process.cpuUsage(this.#cpu);
    return {
      messagesPerSecond: messages / seconds,
      cpuMicroseconds: (user + system) / messages,
      peakMebibytes: process.resourceUsage().maxRSS / 1024,
    };
  }
}

/** Counts every number once, and what comes again. */
class Tally {
  readonly #seen: Uint8Array;
  distinct = 0;
  duplicates = 0;

  constructor(size: number) {
    this.#seen = new Uint8Array(size);
  }

  count(number: number): void {
    if (this.#seen[number]) this.duplicates++;
    else {
      this.#seen[number] = 1;
      this.distinct++;
    }
  }
}

/** Loads only what it runs: memory and start of one contender are not those of another. */
async function open({ broker, contender, topic }: Task): Promise<Contender> {
  const address = process.env[broker === "kafka" ? "KAFKA_BROKERS" : "RABBITMQ_URL"];
  if (address === undefined) throw new Error(`the address of ${broker} is not in the environment`);
  if (contender.startsWith("sluice")) {
    const { openSluice } = await import("./contenders/sluice.ts");
    return openSluice(broker, address, topic, contender === "sluice-keyed");
  }
  if (broker === "rabbitmq") {
    const { openRawRabbit } = await import("./contenders/raw-rabbitmq.ts");
    return openRawRabbit(address, topic);
  }
  const { openRawKafka } = await import("./contenders/raw-kafka.ts");
  return openRawKafka(address.split(","), topic, contender === "raw-idempotent");
}

async function publish(contender: Contender, messages: number, inFlight: number): Promise<Finding> {
  await contender.publish(Math.ceil(messages * warmPart), inFlight);
  const meter = new Meter();
  await contender.publish(messages, inFlight);
  return { ...meter.read(messages), duplicates: 0 };
}

/** Ends when every message of the backlog was handled: the last acknowledgements are not waited for. */
async function consume(contender: Contender, messages: number, concurrency: number): Promise<Finding> {
  const tally = new Tally(messages);
  const warm = Math.ceil(messages * warmPart);
  const meter = new Meter();
  return new Promise((resolve, reject) => {
    const handle = async ({ number }: { readonly number: number }): Promise<void> => {
      tally.count(number);
      if (tally.distinct === warm) meter.restart();
      if (tally.distinct === messages) resolve({ ...meter.read(messages - warm), duplicates: tally.duplicates });
    };
    contender.consume(concurrency, handle).catch(reject);
  });
}

async function latency(contender: Contender, messages: number): Promise<Finding> {
  const warm = Math.ceil(messages * warmPart);
  const tally = new Tally(messages);
  const waits: number[] = [];
  const meter = new Meter();
  const finished = Promise.withResolvers<Finding>();
  await contender.consume(16, async ({ number, sentMs }) => {
    tally.count(number);
    if (number >= warm) waits.push(performance.now() - sentMs);
    if (tally.distinct === warm) meter.restart();
    if (tally.distinct < messages) return;
    const [p50, p99] = [percentile(waits, 0.5), percentile(waits, 0.99)];
    finished.resolve({ ...meter.read(messages - warm), p50, p99, duplicates: tally.duplicates });
  });
  let next = 0;
  const timer = setInterval(() => {
    if (next === messages) return clearInterval(timer);
    contender.publishOne(makeOrder(next++)).catch(finished.reject);
  }, latencyStepMs);
  return finished.promise;
}

async function run(contender: Contender, { scenario, messages }: Task): Promise<Finding> {
  switch (scenario) {
    case "fill":
      await contender.publish(messages, 1000);
      return { ...new Meter().read(messages), duplicates: 0 };
    case "publish":
      return publish(contender, messages, 1000);
    case "publish-each":
      return publish(contender, messages, 1);
    case "consume-1":
      return consume(contender, messages, 1);
    case "consume-100":
      return consume(contender, messages, 100);
    case "latency":
      return latency(contender, messages);
  }
}

const task = JSON.parse(process.argv[2] ?? "null") as Task;
const contender = await open(task);
const finding = await run(contender, task);
await contender.close();
process.stdout.write(`${JSON.stringify(finding)}\n`);
process.exit(0);
