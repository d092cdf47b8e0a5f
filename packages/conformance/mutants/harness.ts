/**
 * A memory broker with a password and an address, healthy or with the defect that CONFORMANCE_MUTANT names: what the kit needs
 * to show that each of its cases can fail.
 */
import { defineHarness, type DriverVariant, type Harness, type RawClient, type RawRecord } from "@sluice/conformance";
import { type Connection, type Driver, DriverError, type Resource } from "@sluice/core/driver";
import { memory, MemoryBroker, type StoredRecord } from "@sluice/memory";
import { asChannel } from "./channel.ts";
import { mutants } from "./index.ts";
import { asLog } from "./log.ts";
import { type Base, type Mutant, mutate, replace } from "./mutant.ts";
import { seekable } from "./seekable.ts";
import { overWire, upstream } from "./wire.ts";

const leaseMs = 4_000;

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
      const connection = await driver.connect(context);
      return credentials === "powerless" ? withoutRights(connection) : connection;
    },
  };
}

/** Of somebody who may connect, and nothing else. */
function withoutRights(connection: Connection): Connection {
  const forbidden = (what: string) =>
    new DriverError("FORBIDDEN", `memory: no right to use ${what}; ask for the permission`);
  const topicOf = (resource: Resource) => String(resource.settings["topic"]);
  return replace(connection, {
    provision: async (resources, mode) =>
      mode === "assume"
        ? []
        : resources.map((resource) => ({
            resource,
            state: "forbidden",
            detail: forbidden(topicOf(resource)).message,
          })),
    receiver: ([source]) => Promise.reject(forbidden(source?.topic ?? "waiting places")),
    async sender() {
      const sender = await connection.sender();
      return replace(sender, {
        send: async (items) => items.map(({ to }) => ({ outcome: "not-stored", error: forbidden(to.topic) })),
      });
    },
  });
}

function toRaw({ id, key, body, headers, binaryHeaders }: StoredRecord): RawRecord {
  return { key, body, headers: { ...headers, ...binaryHeaders }, ...(id !== undefined && { id }) };
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
      const seen: RawRecord[] = [];
      const close = broker.watch(topic, (record) => void seen.push(toRaw(record)));
      return { read: async (count) => seen.splice(0, count), close: async () => close() };
    },
    deadLetters: async (topic, group) => broker.deadLetters(topic, group).map(toRaw),
    async depth(topic, group) {
      const { ready, inFlight } = broker.depth(topic, group);
      return ready + inFlight;
    },
    close: async () => {},
  };
}

async function outage(broker: MemoryBroker, downMs: number): Promise<void> {
  const end = broker.outage();
  await new Promise((resolve) => setTimeout(resolve, Math.min(downMs, 300)));
  end();
}

function driverOf(base: Base, broker: MemoryBroker, variant: DriverVariant, deaf?: boolean): Driver {
  if (base === "wire") return overWire(memory({ broker, leaseMs }), broker, variant.via ?? upstream, deaf);
  const driver = guarded(broker, variant);
  switch (base) {
    case "log":
      return asLog(driver);
    case "channel":
      return asChannel(driver);
    case "seekable":
      return seekable(driver, broker);
    case "memory":
      return driver;
  }
}

/** A harness with a broker of its own. Without a mutant: the healthy base. */
export function harnessFor(base: Base, mutant?: Mutant): Harness {
  const broker = new MemoryBroker();
  return defineHarness({
    adapter: "@sluice/memory",
    environment: { kind: "fake", name: mutant?.name ?? base, provider: "embedded" },
    clients: {},
    driver(variant = {}) {
      const driver = driverOf(base, broker, variant, mutant?.changes.deaf);
      return mutant ? mutate(driver, mutant.changes) : driver;
    },
    raw: async () => rawOf(broker),
    timing: { leaseMs, recoveryMs: 4_000, quietMs: 100 },
    control: { restart: (ms) => outage(broker, ms), kill: (ms) => outage(broker, ms) },
    ...(base === "wire" ? { upstream } : { crash: (clientName) => void broker.disconnect(clientName) }),
    ...(base !== "wire" && { powerless: true }),
    variables: { CONFORMANCE_MUTANT: mutant?.name ?? "" },
  });
}

const named = mutants.find((mutant) => mutant.name === process.env["CONFORMANCE_MUTANT"]);
const harness: Harness = harnessFor(named?.of ?? "memory", named);

export default harness;
