/** A memory driver with one defect, as a thin wrapper. */
import type { Facts } from "@sluice/conformance";
import type {
  ConnectContext,
  Connection,
  Delivery,
  Driver,
  Receiver,
  ReceiverOptions,
  SendItem,
  Sender,
  SendResult,
  Source,
} from "@sluice/core/driver";

/**
 * Healthy drivers: the memory broker as it is, behind a socket, as a log, as a channel that keeps nothing, and with seek.
 */
export type Base = "memory" | "wire" | "log" | "channel" | "seekable";

export interface Mutant {
  readonly name: string;
  /** What is wrong, in one sentence. */
  readonly defect: string;
  /** Every one of these cases must fail. */
  readonly killedBy: readonly string[];
  readonly changes: Changes;
  /** The healthy driver that it is made from. @default 'memory' */
  readonly of?: Base;
  /** Where the defect is in what the connection says about itself. */
  readonly facts?: (facts: Facts) => Facts;
}

/** What may be missing. */
export type Maybe<T> = T | undefined;

/** What differs from the healthy driver. Each answers only the members that it replaces. */
export interface Changes {
  /** Of the wire itself: nothing notices silence. */
  readonly deaf?: true;
  readonly connect?: (driver: Driver, context: ConnectContext) => Promise<Connection> | undefined;
  readonly connection?: (connection: Connection, context: ConnectContext) => Partial<Connection>;
  readonly sender?: (sender: Sender, connection: Connection) => Partial<Sender>;
  readonly receiver?: (receiver: Receiver, opened: Opened) => Partial<Receiver>;
  /** Before the receiver is opened. */
  readonly sources?: (sources: readonly Source[], connection: Connection) => Promise<readonly Source[]>;
  readonly options?: (options: ReceiverOptions) => ReceiverOptions;
}

export interface Opened {
  readonly sources: readonly Source[];
  readonly options: ReceiverOptions;
  readonly connection: Connection;
  readonly context: ConnectContext;
}

/** The object with some members replaced; everything else, private state included, stays its own. */
export function replace<T extends object>(target: T, members: Partial<T>): T {
  return new Proxy(target, {
    get(object, name) {
      if (Object.hasOwn(members, name)) return Reflect.get(members, name);
      const value: unknown = Reflect.get(object, name, object);
      return typeof value === "function" ? value.bind(object) : value;
    },
  });
}

export function mutate(driver: Driver, changes: Changes): Driver {
  return {
    ...driver,
    async connect(context) {
      const connection = await (changes.connect?.(driver, context) ?? driver.connect(context));
      const { sources = async (given) => given, options = (given) => given } = changes;
      return replace(connection, {
        async sender() {
          const sender = await connection.sender();
          return changes.sender ? replace(sender, changes.sender(sender, connection)) : sender;
        },
        async receiver(given, wanted) {
          const opened = { sources: await sources(given, connection), options: options(wanted), connection, context };
          const receiver = await connection.receiver(opened.sources, opened.options);
          return changes.receiver ? replace(receiver, changes.receiver(receiver, opened)) : receiver;
        },
        ...changes.connection?.(connection, context),
      });
    },
  };
}

/** A sender that changes every item on its way out. `undefined`: not stored, and reported as stored. */
export function eachItem(change: (item: SendItem, number: number) => Maybe<SendItem>): Changes {
  let number = 0;
  return {
    sender: (sender) => ({
      async send(items, signal) {
        const changed = items.map((item) => change(item, number++));
        const kept = changed.filter((item) => item !== undefined);
        const results = kept.length > 0 ? [...(await sender.send(kept, signal))] : [];
        return changed.map((item): SendResult =>
          item === undefined ? { outcome: "stored" } : (results.shift() ?? { outcome: "stored" }),
        );
      },
    }),
    receiver: (receiver) => ({
      // A move goes out in one step with its settlement; the defect is in both ways out.
      async commit(units) {
        const changed = units.map(({ accept, send }) => ({
          accept,
          send: send.map((item) => change(item, number++)).filter((item) => item !== undefined),
        }));
        return (await receiver.commit?.(changed)) ?? [];
      },
    }),
  };
}

/** A receiver that shows every delivery in another shape, and settles the right one all the same. */
export function eachDelivery(change: (delivery: Delivery) => Delivery): Changes {
  return {
    receiver(receiver) {
      const originals = new WeakMap<Delivery, Delivery>();
      const original = (shown: Delivery) => originals.get(shown) ?? shown;
      return {
        async receive(max, signal) {
          const deliveries = await receiver.receive(max, signal);
          return deliveries?.map((delivery) => {
            const shown = change(delivery);
            originals.set(shown, delivery);
            return shown;
          });
        },
        settle: (settlements) =>
          receiver.settle(
            settlements.map((settlement) => ({ ...settlement, delivery: original(settlement.delivery) })),
          ),
        extend: async (deliveries, ms) => (await receiver.extend?.(deliveries.map(original), ms)) ?? [],
        commit: async (units) =>
          (await receiver.commit?.(
            units.map(({ accept, send }) => ({
              accept: accept.map(original),
              send: send.map((item) => (item.from ? { ...item, from: original(item.from) } : item)),
            })),
          )) ?? [],
      };
    },
  };
}

/** Everything that a receiver has handed out and that was not settled yet. */
export function tracking(receiver: Receiver): { readonly open: Set<Delivery>; readonly members: Partial<Receiver> } {
  const open = new Set<Delivery>();
  return {
    open,
    members: {
      async receive(max, signal) {
        const deliveries = await receiver.receive(max, signal);
        for (const delivery of deliveries ?? []) open.add(delivery);
        return deliveries;
      },
      async settle(settlements) {
        for (const { delivery } of settlements) open.delete(delivery);
        return receiver.settle(settlements);
      },
      async commit(units) {
        for (const delivery of units.flatMap((unit) => unit.accept)) open.delete(delivery);
        return (await receiver.commit?.(units)) ?? [];
      },
    },
  };
}

/** A record with other headers. */
export function withHeaders(item: SendItem, headers: Record<string, string>): SendItem {
  return { ...item, record: { ...item.record, headers } };
}

/** A record with its headers changed, one by one; Sluice's own are left alone. */
export function mapHeaders(
  item: SendItem,
  change: (name: string, value: string) => readonly [string, string] | undefined,
): SendItem {
  const headers = Object.create(null) as Record<string, string>;
  for (const [name, value] of Object.entries(item.record.headers)) {
    const changed = name.startsWith("sluice-") ? ([name, value] as const) : change(name, value);
    if (changed) headers[changed[0]] = changed[1];
  }
  return withHeaders(item, headers);
}

/** A record with another body; a tombstone stays one. */
export function mapBody(item: SendItem, change: (body: Uint8Array) => Uint8Array | null): SendItem {
  const { body } = item.record;
  return body === null ? item : { ...item, record: { ...item.record, body: change(body) } };
}
