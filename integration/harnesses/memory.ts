import { defineHarness, type Harness, type RawClient, type RawReader, type RawRecord } from "@sluice/conformance";
import { memory, MemoryBroker, type StoredRecord } from "@sluice/memory";

const broker = new MemoryBroker();
const leaseMs = 1_500;

/** The broker's own methods, which use nothing of the driver. */
const raw: RawClient = {
  async produce(topic, records) {
    for (const { key = null, body, headers = {} } of records) {
      const text: Record<string, string> = {};
      const binary: Record<string, Uint8Array> = {};
      for (const [name, value] of Object.entries(headers)) {
        if (typeof value === "string") text[name] = value;
        else binary[name] = value;
      }
      broker.publish(topic, { key, body, headers: text, binaryHeaders: binary });
    }
  },
  async consume(topic) {
    return readerOf(topic);
  },
  async deadLetters(topic, group) {
    return broker.deadLetters(topic, group).map(toRaw);
  },
  async depth(topic, group) {
    const { ready, inFlight } = broker.depth(topic, group);
    return ready + inFlight;
  },
  async close() {},
};

function toRaw({ id, key, body, headers, binaryHeaders }: StoredRecord): RawRecord {
  return { key, body, headers: { ...headers, ...binaryHeaders }, ...(id !== undefined && { id }) };
}

/** Everything that is sent to the topic from now on. */
function readerOf(topic: string): RawReader {
  const seen: RawRecord[] = [];
  const close = broker.watch(topic, (record) => void seen.push(toRaw(record)));
  return { read: async (count) => seen.splice(0, count), close: async () => close() };
}

async function outage(downMs: number): Promise<void> {
  const end = broker.outage();
  await new Promise((resolve) => setTimeout(resolve, Math.min(downMs, 500)));
  end();
}

const noAddress = "the broker is an object in this process: there is no address to connect to";

const harness: Harness = defineHarness({
  adapter: "@sluice/memory",
  environment: { kind: "fake", name: "memory", provider: "embedded" },
  clients: {},
  driver: () => memory({ broker, leaseMs }),
  raw: async () => raw,
  timing: { leaseMs, recoveryMs: 2_000, quietMs: 200 },
  control: { restart: outage, kill: outage },
  crash: (clientName) => void broker.disconnect(clientName),
  environmentSkips: {
    "G-27": "the broker is an object in this process: it has no credentials",
    "G-30": noAddress,
    "G-04a": noAddress,
    "G-04b": noAddress,
    "G-04c": noAddress,
    "G-04d": noAddress,
    "G-11": noAddress,
  },
  parallel: 10,
});

export default harness;
