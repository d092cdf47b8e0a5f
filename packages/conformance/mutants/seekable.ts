/** Seek for the memory broker: a journal of everything sent, and a group that is emptied and filled again. */
import {
  type Connection,
  type Driver,
  DriverError,
  emptyHeaders,
  type GroupSource,
  type Position,
  type Receiver,
} from "@sluice/core/driver";
import type { MemoryBroker, StoredRecord } from "@sluice/memory";
import { replace } from "./mutant.ts";

interface Kept {
  readonly record: StoredRecord;
  readonly at: number;
}

/** Per broker and topic: everything that was sent since the topic exists, and who reads which group. */
interface Journal {
  readonly kept: Map<string, Kept[]>;
  readonly members: Map<string, number>;
}

const journals = new WeakMap<MemoryBroker, Journal>();
const live = (): AbortSignal => new AbortController().signal;
const nameOf = ({ topic, group }: GroupSource): string => `${topic}/${group}`;

function journalOf(broker: MemoryBroker): Journal {
  const known = journals.get(broker);
  if (known) return known;
  const made = { kept: new Map<string, Kept[]>(), members: new Map<string, number>() };
  journals.set(broker, made);
  return made;
}

function watch(broker: MemoryBroker, { kept }: Journal): void {
  for (const topic of broker.topics().keys()) {
    if (kept.has(topic)) continue;
    const list: Kept[] = [];
    kept.set(topic, list);
    broker.watch(topic, (record) => void list.push({ record, at: Date.now() }));
  }
}

export function seekable(driver: Driver, broker: MemoryBroker): Driver {
  const journal = journalOf(broker);
  const capabilities = { ...driver.capabilities, seek: "emulated", retained: true } as const;
  return {
    ...driver,
    capabilities,
    async connect(context) {
      const connection = await driver.connect(context);
      return replace(connection, {
        capabilities: { ...connection.capabilities, seek: "emulated", retained: true },
        async provision(resources, mode, signal) {
          const findings = await connection.provision(resources, mode, signal);
          watch(broker, journal);
          return findings;
        },
        async receiver(sources, options) {
          const receiver = await connection.receiver(sources, options);
          return counted(
            receiver,
            sources.filter((source) => "start" in source),
            journal,
          );
        },
        seek: (source, to, signal) => seek(connection, broker, journal, source, to, signal),
      });
    },
  };
}

function counted(receiver: Receiver, sources: readonly GroupSource[], { members }: Journal): Receiver {
  const add = (by: number) => {
    for (const source of sources) members.set(nameOf(source), (members.get(nameOf(source)) ?? 0) + by);
  };
  add(1);
  void receiver.closed.then(() => add(-1));
  return receiver;
}

async function seek(
  connection: Connection,
  broker: MemoryBroker,
  { kept, members }: Journal,
  source: GroupSource,
  to: Position,
  signal: AbortSignal,
): Promise<void> {
  const name = nameOf(source);
  if ((members.get(name) ?? 0) > 0) throw new DriverError("BUSY", `memory: group "${name}" has members; close them`);
  const receiver = await connection.receiver([source], { ordered: false, window: 1e6, windowBytes: 1e9, lost() {} });
  while (broker.waiting(source.topic, source.group).length > 0) {
    const waiting = (await receiver.receive(1_000, AbortSignal.timeout(1_000))) ?? [];
    await receiver.settle(waiting.map((delivery) => ({ delivery, accept: true })));
  }
  await receiver.close(signal);
  const from = to === "earliest" ? 0 : typeof to === "object" && "time" in to ? to.time : Infinity;
  const again = (kept.get(source.topic) ?? []).filter(({ at }) => at >= from);
  const sender = await connection.sender();
  const { topic, group } = source;
  await sender.send(
    again.map(({ record: { id = "foreign", key, body, headers, time = 0 } }) => ({
      to: { topic, group },
      record: { id, dedupId: `${id}/0`, key, body, headers: Object.assign(emptyHeaders(), headers), time },
    })),
    live(),
  );
  await sender.close(signal);
}
