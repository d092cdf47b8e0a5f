import { type ConfirmChannel, connect, type ConsumeMessage } from "amqplib";
import type { Contender, HandleOrder } from "../contender.ts";
import { makeOrder, type Order } from "../order.ts";

const prefetch = 300;

/** amqplib as somebody uses it who knows it: confirms by callback in a sliding window, acknowledgements of whole prefixes. */
export async function openRawRabbit(url: string, queue: string): Promise<Contender> {
  const connection = await connect(url, { noDelay: true });
  const channel = await connection.createConfirmChannel();
  await channel.assertQueue(queue, { durable: true, arguments: { "x-queue-type": "quorum" } });
  const workers: Worker[] = [];
  const publish = (order: Order, confirmed: (error: unknown) => void): void => {
    const options = { persistent: true, contentType: "application/json" };
    channel.publish("", queue, Buffer.from(JSON.stringify(order)), options, confirmed);
  };
  return {
    publish: (count, inFlight) => publishAll(count, inFlight, publish),
    publishOne: (order) =>
      new Promise((resolve, reject) => publish(order, (error) => (error ? reject(error as Error) : resolve()))),
    async consume(concurrency, handle) {
      const intake = await connection.createConfirmChannel();
      await intake.prefetch(prefetch);
      const worker = new Worker(intake, concurrency, handle);
      workers.push(worker);
      await intake.consume(queue, (message) => message && worker.take(message));
    },
    async close() {
      for (const worker of workers) worker.end();
      await connection.close();
    },
  };
}

function publishAll(
  count: number,
  inFlight: number,
  publish: (order: Order, confirmed: (error: unknown) => void) => void,
): Promise<void> {
  return new Promise((resolve, reject) => {
    let sent = 0;
    let open = 0;
    const confirmed = (error: unknown): void => {
      if (error) return reject(error as Error);
      open--;
      fill();
    };
    const fill = (): void => {
      if (open === 0 && sent === count) return resolve();
      while (sent < count && open < inFlight) {
        open++;
        publish(makeOrder(sent++), confirmed);
      }
    };
    fill();
  });
}

/** Runs handlers side by side, and acknowledges the finished prefix once a turn. */
class Worker {
  readonly #channel: ConfirmChannel;
  readonly #concurrency: number;
  readonly #handle: HandleOrder;
  readonly #waiting: ConsumeMessage[] = [];
  readonly #finished = new Map<number, ConsumeMessage>();
  #running = 0;
  #nextTag = 1;
  #scheduled = false;
  #ended = false;

  constructor(channel: ConfirmChannel, concurrency: number, handle: HandleOrder) {
    this.#channel = channel;
    this.#concurrency = concurrency;
    this.#handle = handle;
  }

  take(message: ConsumeMessage): void {
    this.#waiting.push(message);
    this.#start();
  }

  /** Acknowledges what is finished; the rest goes back when the channel closes. */
  end(): void {
    this.#acknowledge();
    this.#ended = true;
  }

  #start(): void {
    while (this.#running < this.#concurrency) {
      const message = this.#waiting.shift();
      if (!message) return;
      this.#running++;
      void this.#run(message);
    }
  }

  async #run(message: ConsumeMessage): Promise<void> {
    await this.#handle(JSON.parse(message.content.toString()) as Order);
    this.#running--;
    this.#finished.set(message.fields.deliveryTag, message);
    if (!this.#scheduled) {
      this.#scheduled = true;
      setImmediate(() => this.#acknowledge());
    }
    this.#start();
  }

  #acknowledge(): void {
    this.#scheduled = false;
    if (this.#ended) return;
    let last: ConsumeMessage | undefined;
    for (let message = this.#finished.get(this.#nextTag); message; message = this.#finished.get(this.#nextTag)) {
      this.#finished.delete(this.#nextTag++);
      last = message;
    }
    if (last) this.#channel.ack(last, true);
  }
}
