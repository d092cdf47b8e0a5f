import { CompressionTypes, Kafka, logLevel, type Message, Partitioners } from "kafkajs";
import type { Contender, HandleOrder } from "../contender.ts";
import { makeOrder, type Order } from "../order.ts";

const partitions = 8;

/** kafkajs as somebody uses it who knows it: lists instead of single messages, one call at a time, one commit a batch. */
export async function openRawKafka(brokers: readonly string[], topic: string, idempotent: boolean): Promise<Contender> {
  const client = new Kafka({ brokers: [...brokers], clientId: "bench-raw", logLevel: logLevel.NOTHING });
  const admin = client.admin();
  await admin.connect();
  await admin.createTopics({ waitForLeaders: true, topics: [{ topic, numPartitions: partitions }] });
  await admin.disconnect();
  const producer = client.producer({
    idempotent,
    allowAutoTopicCreation: false,
    createPartitioner: Partitioners.DefaultPartitioner,
  });
  const consumer = client.consumer({ groupId: `${topic}-group`, allowAutoTopicCreation: false });
  await producer.connect();
  const send = async (messages: Message[]): Promise<void> => {
    const topicMessages = [{ topic, messages }];
    await producer.sendBatch({ acks: -1, compression: CompressionTypes.None, topicMessages });
  };
  return {
    async publish(count, inFlight) {
      for (let number = 0; number < count;) {
        const messages: Message[] = [];
        while (messages.length < inFlight && number < count) messages.push(encode(makeOrder(number++)));
        await send(messages);
      }
    },
    publishOne: (order) => send([encode(order)]),
    async consume(concurrency, handle) {
      await consumer.connect();
      await consumer.subscribe({ topic, fromBeginning: true });
      const joined = new Promise<void>((resolve) => void consumer.on(consumer.events.GROUP_JOIN, () => resolve()));
      await consumer.run({
        eachBatch: ({ batch }) => handleAll(batch.messages, concurrency, handle),
      });
      await joined;
    },
    async close() {
      await Promise.all([producer.disconnect(), consumer.disconnect()]);
    },
  };
}

function encode(order: Order): Message {
  return { value: Buffer.from(JSON.stringify(order)) };
}

/** Handlers of a batch side by side; kafkajs commits once, after all of them. */
async function handleAll(messages: readonly Message[], concurrency: number, handle: HandleOrder): Promise<void> {
  if (concurrency === 1) {
    for (const message of messages) await handle(decode(message));
    return;
  }
  for (let from = 0; from < messages.length; from += concurrency) {
    await Promise.all(messages.slice(from, from + concurrency).map((message) => handle(decode(message))));
  }
}

function decode({ value }: Message): Order {
  return JSON.parse(String(value)) as Order;
}
