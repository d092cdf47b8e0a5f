import { Chance } from "../chance.ts";
import { hostileText } from "../hostile.ts";
import { redis as records, redisPubsub as messages, redisReplies as replies } from "../inside.ts";
import { sample, type Target } from "../target.ts";
import { checkDelivery, copyOf, ours, plain, refusal, sourceOf } from "./delivery.ts";

const redis: Target = {
  name: "redis: entry",
  golden: [
    plain,
    ours,
    sample("x", { data: "x", "sluice-headers": '{"a":"b"}', "sluice-deliveries": "2", "sluice-null": "1" }),
  ],
  names: ["data", "sluice-data", "sluice-null", "sluice-headers", "sluice-deliveries"],
  expected: refusal,
  run({ bytes, headers, seed }) {
    const chance = new Chance(seed);
    const flat = Object.entries(headers).flatMap(([name, text]) => [
      Buffer.from(name),
      chance.once(6) ? chance.bytes(20) : Buffer.from(text),
    ]);
    if (chance.once(2)) flat.push(Buffer.from(chance.pick(["data", "sluice-data", "payload"])), bytes);
    if (chance.once(9)) flat.push(Buffer.from("odd"));
    const id = chance.pick(["1767225600000-0", "0-1", hostileText(chance)]);
    const delivery = records.fromEntry(id, flat, {
      source: sourceOf(chance),
      stream: "s",
      shard: "s",
      deliveries: chance.once(2) ? 1 : undefined,
      fence: undefined,
    });
    checkDelivery(delivery);
    records.toFields(copyOf(delivery).record, delivery.native);
    // Replies of the server, or of something that is none.
    const reply = chance.pick<unknown>([
      null,
      flat,
      [flat],
      [[flat, flat]],
      [id, [[id, flat]]],
      1,
      "OK",
      [[Buffer.from("s"), [[Buffer.from(id), flat]]]],
    ]);
    for (const read of [replies.entriesOf, replies.streamsOf, replies.claimedOf, replies.takenOf]) read(reply);
  },
};

const event = JSON.stringify({
  specversion: "1.0",
  id: "m-1",
  source: "/a",
  type: "orders",
  time: "2026-01-01T00:00:00Z",
  datacontenttype: "application/json",
  sluiceheaders: '{"a":"b"}',
  data: { a: 1 },
});

const redisPubsub: Target = {
  name: "redis-pubsub: message",
  golden: [sample(event), sample(event.replace('"data":{"a":1}', '"data_base64":"AAA="')), sample("plain text")],
  expected: refusal,
  run({ bytes, seed }) {
    const chance = new Chance(seed);
    const delivery = messages.fromMessage(
      { channel: "c", message: bytes },
      { topic: "orders", broadcast: "b", instance: "i" },
    );
    checkDelivery(delivery);
    messages.toMessage(copyOf(delivery).record, {
      format: chance.pick(["cloudevents", "raw"] as const),
      source: "/a",
      topic: "orders",
    });
  },
};

export const redises: readonly Target[] = [redis, redisPubsub];
