/**
 * A memory broker with a password and an address, healthy or with the defect that CONFORMANCE_MUTANT names: what the kit needs
 * to show that each of its cases can fail.
 */
import { defineHarness, type DriverVariant, type Harness, type RawClient } from "@sluice/conformance";
import { type Driver, DriverError } from "@sluice/core/driver";
import { memory, MemoryBroker, type StoredRecord } from "@sluice/memory";
import { mutants } from "./index.ts";
import { type Mutant, mutate } from "./mutant.ts";

const leaseMs = 2_500;

/** The healthy driver, with the two things that an embedded broker lacks: a password, and an address where it may not be. */
function guarded(broker: MemoryBroker, { via, credentials }: DriverVariant): Driver {
  const driver: Driver = memory({ broker, leaseMs });
  return {
    ...driver,
    async connect(context) {
      if (credentials === "wrong") {
        throw new DriverError("UNAUTHORIZED", "memory: the password was refused; check user and password");
      }
      if (via) {
        if (context.signal.aborted) throw new DriverError("ABORTED", "memory: connecting was aborted; connect again");
        throw new DriverError("UNAVAILABLE", `memory: nothing answers at ${via.host}:${via.port}; check the address`);
      }
      return driver.connect(context);
    },
  };
}

function toRaw(record: StoredRecord) {
  return { key: record.key, body: record.body, headers: { ...record.headers, ...record.binaryHeaders } };
}

function rawOf(broker: MemoryBroker): RawClient {
  return {
    async produce(topic, records) {
      for (const { key = null, body, headers = {} } of records) {
        const entries = Object.entries(headers);
        const text = Object.fromEntries(
          entries.filter((entry): entry is [string, string] => typeof entry[1] === "string"),
        );
        const binary = Object.fromEntries(
          entries.filter((entry): entry is [string, Uint8Array] => typeof entry[1] !== "string"),
        );
        broker.publish(topic, { key, body, headers: text, binaryHeaders: binary });
      }
    },
    async consume(topic) {
      const [group = ""] = broker.topics().get(topic) ?? [];
      const before = broker.waiting(topic, group).length;
      return {
        read: async (count) =>
          broker
            .waiting(topic, group)
            .slice(before, before + count)
            .map(toRaw),
        close: async () => {},
      };
    },
    deadLetters: async (topic, group) => broker.deadLetters(topic, group).map(toRaw),
    async depth(topic, group) {
      const { ready, inFlight } = broker.depth(topic, group);
      return ready + inFlight;
    },
    close: async () => {},
  };
}

/** A harness with a broker of its own. `undefined`: healthy. */
export function mutantHarness(mutant: Mutant | undefined): Harness {
  const broker = new MemoryBroker();
  return defineHarness({
    adapter: "@sluice/memory",
    environment: { kind: "fake", name: mutant?.name ?? "healthy", provider: "embedded" },
    clients: {},
    driver: (variant = {}) => (mutant ? mutate(guarded(broker, variant), mutant.changes) : guarded(broker, variant)),
    raw: async () => rawOf(broker),
    timing: { leaseMs, recoveryMs: 2_500, quietMs: 100 },
    parallel: 4,
  });
}

const named = process.env["CONFORMANCE_MUTANT"];
const harness: Harness = mutantHarness(mutants.find((mutant) => mutant.name === named));

export default harness;
