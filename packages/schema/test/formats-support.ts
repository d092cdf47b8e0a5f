import { connect, type DeadLetter, isSluiceError, type SluiceError, type Topic, type WireMessage } from "@sluice/core";
import { memory, MemoryBroker } from "@sluice/memory";

/** What a codec is given beside the payload. */
export function message(headers: Record<string, string> = {}): WireMessage {
  return {
    system: "memory",
    topic: "orders",
    id: "m-1",
    key: null,
    time: undefined,
    headers: { ...headers },
    body: null,
  };
}

export function bytes(hex: string): Buffer {
  return Buffer.from(hex.replaceAll(" ", ""), "hex");
}

export function hex(body: Uint8Array | Promise<Uint8Array>): string {
  if (body instanceof Promise) throw new Error("expected bytes at once");
  return Buffer.from(body).toString("hex");
}

/** The SluiceError that it throws or rejects with. */
export async function errorOf(run: () => unknown): Promise<SluiceError> {
  try {
    await run();
  } catch (error) {
    if (isSluiceError(error)) return error;
    throw error;
  }
  throw new Error("expected an error");
}

/** Publishes a payload and returns what a handler got, with the headers and bytes on the wire. */
export async function roundTrip<Input, Output>(
  orders: Topic<Input, Output>,
  payload: Input,
): Promise<{ payload: Output; headers: Readonly<Record<string, string>>; body: string }> {
  const broker = new MemoryBroker();
  const bus = await connect(memory({ broker }));
  try {
    const got = Promise.withResolvers<Output>();
    await bus.subscribe(orders, { group: "g" }, (each) => got.resolve(each));
    const wire = Promise.withResolvers<{ headers: Readonly<Record<string, string>>; body: string }>();
    broker.watch(orders.name, ({ headers, body }) =>
      wire.resolve({ headers, body: Buffer.from(body ?? []).toString("hex") }),
    );
    await bus.publish(orders, payload);
    return { payload: await got.promise, ...(await wire.promise) };
  } finally {
    await bus.close();
  }
}

/** What becomes of raw bytes that somebody else wrote. */
export async function deadLetterOf<Input, Output>(
  orders: Topic<Input, Output>,
  body: Uint8Array,
  headers: Record<string, string> = {},
): Promise<DeadLetter> {
  const broker = new MemoryBroker();
  const bus = await connect(memory({ broker }));
  try {
    await bus.subscribe(orders, { group: "g" }, () => {
      throw new Error("the handler must not see it");
    });
    const dead = bus.settled(orders, { fate: "dead-letter" });
    broker.publish(orders.name, { body, headers });
    await dead;
    const { letters } = await bus.deadLetters(orders, { group: "g" }).list();
    const [letter] = letters;
    if (!letter) throw new Error("no dead letter");
    return letter;
  } finally {
    await bus.close();
  }
}
