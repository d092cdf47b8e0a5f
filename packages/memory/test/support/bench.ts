import { emptyHeaders } from "@sluice/core/driver";
import type {
  Connection,
  DeclaredGroup,
  DeclaredTopic,
  Delivery,
  DriverEvent,
  GroupSource,
  LostReason,
  Receiver,
  ReceiverOptions,
  Runtime,
  SendItem,
  Source,
} from "@sluice/core/driver";
import { memory, MemoryBroker, simulation } from "@sluice/memory";
import type { MemoryOptions, Simulation } from "@sluice/memory";

/** A signal that never aborts. */
export const calm: AbortSignal = new AbortController().signal;

export const billing: GroupSource = { topic: "orders", group: "billing", start: "now" };

interface LostCall {
  readonly ids: readonly (string | undefined)[];
  readonly reason: LostReason;
}

/** A receiver with a short form of each call. */
export interface Reader {
  readonly receiver: Receiver;
  readonly lost: LostCall[];
  readonly lostDeliveries: Set<Delivery>;
  /** Waits until there is something. */
  readonly receive: (max?: number) => Promise<readonly Delivery[]>;
  /** Only what is there now: `[]` when nothing is. */
  readonly poll: (max?: number) => Promise<readonly Delivery[]>;
  readonly accept: (...deliveries: readonly Delivery[]) => Promise<readonly string[]>;
  readonly release: (kind: "returned" | "failed", ...deliveries: readonly Delivery[]) => Promise<readonly string[]>;
}

export interface Bench {
  readonly clock: Simulation;
  readonly broker: MemoryBroker;
  readonly connection: Connection;
  readonly events: DriverEvent[];
  readonly connect: (clientName?: string) => Promise<Connection>;
  readonly send: (...items: readonly SendItem[]) => Promise<readonly string[]>;
  readonly read: (
    sources?: Source | readonly Source[],
    options?: Partial<ReceiverOptions>,
    on?: Connection,
  ) => Promise<Reader>;
}

export function group(name: string, options: Partial<DeclaredGroup> = {}): DeclaredGroup {
  return { name, start: "now", retry: true, deadLetter: true, ...options };
}

export function declared(name: string, options: Partial<DeclaredTopic> = {}): DeclaredTopic {
  return { name, ordered: false, shards: 1, delays: true, groups: [group("billing")], ...options };
}

export function item(
  id: string,
  options: Partial<SendItem["record"]> & Omit<Partial<SendItem>, "record"> = {},
): SendItem {
  const { to = { topic: "orders" }, notBefore, from, ...record } = options;
  return {
    to,
    record: {
      id,
      dedupId: `${id}/0`,
      key: null,
      body: new Uint8Array([1]),
      headers: emptyHeaders(),
      time: 0,
      ...record,
    },
    ...(notBefore === undefined ? {} : { notBefore }),
    ...(from === undefined ? {} : { from }),
  };
}

export function ids(deliveries: readonly { readonly id: string | undefined }[]): string {
  return deliveries.map(({ id }) => id).join(" ");
}

/** A broker with topics, one connection and one sender, all under a simulated clock. */
export async function bench(
  topics: readonly DeclaredTopic[] = [declared("orders")],
  options: MemoryOptions = {},
  seed = 1,
): Promise<Bench> {
  const clock = simulation({ seed });
  const broker = options.broker ?? new MemoryBroker();
  const driver = memory({ ...options, broker });
  const events: DriverEvent[] = [];
  const connect = (clientName = "test") =>
    driver.connect({ runtime: clock.runtime, signal: calm, clientName, report: (event) => events.push(event) });
  const connection = await connect();
  await connection.provision(driver.topology({ topics }), "create", calm);
  const sender = await connection.sender();
  return {
    clock,
    broker,
    connection,
    events,
    connect,
    send: async (...items) => (await sender.send(items, calm)).map(({ outcome }) => outcome),
    read: (sources = billing, readerOptions = {}, on = connection) =>
      open(on, clock.runtime, [sources].flat() as readonly Source[], readerOptions),
  };
}

async function open(
  connection: Connection,
  runtime: Runtime,
  sources: readonly Source[],
  options: Partial<ReceiverOptions>,
): Promise<Reader> {
  const lost: LostCall[] = [];
  const lostDeliveries = new Set<Delivery>();
  const receiver = await connection.receiver(sources, {
    ordered: false,
    window: 100,
    windowBytes: Infinity,
    lost: (deliveries, reason) => {
      lost.push({ ids: deliveries.map(({ id }) => id), reason });
      for (const delivery of deliveries) lostDeliveries.add(delivery);
    },
    ...options,
  });
  return {
    receiver,
    lost,
    lostDeliveries,
    receive: async (max = 100) => (await receiver.receive(max, calm)) ?? [],
    poll: async (max = 100) => {
      const abort = new AbortController();
      const answer = receiver.receive(max, abort.signal);
      // Two turns: the one in which records are handed out, and the one in which another member is woken.
      runtime.defer(() => runtime.defer(() => abort.abort()));
      return (await answer) ?? [];
    },
    accept: (...deliveries) => receiver.settle(deliveries.map((delivery) => ({ delivery, accept: true }))),
    release: (kind, ...deliveries) =>
      receiver.settle(deliveries.map((delivery) => ({ delivery, accept: false, release: kind }))),
  };
}
