import type { Channel, Message } from "amqplib";

/**
 * n.b. a channel has at most 32 settlements of a quorum queue under way, keeps later ones to itself, and forgets those when it is
 * closed: acknowledged messages come back. A round trip on the channel proves nothing, it does not reach the queue.
 */
export const settlementsUnderWay = 16;

/**
 * Resolves when the queue has applied every settlement that was written before. Starting and ending a consumer are commands of the
 * queue itself, behind the settlements; its first message, if it gets one, goes back at once.
 */
export async function applied(native: Channel, queue: string): Promise<void> {
  const fetched: Message[] = [];
  await native.prefetch(1, false);
  const { consumerTag } = await native.consume(queue, (message) => {
    if (message) fetched.push(message);
  });
  await native.cancel(consumerTag);
  for (const message of fetched) native.nack(message, false, true);
}
