import type { Message as AmqpMessage } from "amqplib";
import { Chance } from "../chance.ts";
import { hostileText } from "../hostile.ts";
import { kafka as kafkaRecords, rabbitmq as rabbitRecords } from "../inside.ts";
import { check, sample, type Target } from "../target.ts";
import { clouds } from "./clouds.ts";
import { checkDelivery, copyOf, ours, plain, refusal, sourceOf } from "./delivery.ts";
import { redises } from "./redis.ts";

const place = { topic: "orders", partition: 0 };

const kafka: Target = {
  name: "kafka: record",
  golden: [
    plain,
    ours,
    sample("x", { __value_schema_id: "\u0000\u0000\u0000\u0001", "sluice-null-headers": "a,b", a: "" }),
  ],
  names: ["__key_schema_id", "__value_schema_id", "sluice-null-headers"],
  expected: refusal,
  run({ bytes, headers, seed }) {
    const chance = new Chance(seed);
    const value = (text: string) =>
      chance.pick([
        Buffer.from(text),
        Buffer.from(text, "latin1"),
        null,
        [Buffer.from(text), null],
        [],
        text,
        undefined,
        chance.bytes(9),
      ]);
    const record = {
      offset: chance.pick(["0", "9223372036854775807", hostileText(chance)]),
      timestamp: chance.pick(["1767225600000", "-1", "9223372036854775807", hostileText(chance)]),
      key: chance.once(3) ? null : chance.bytes(20),
      value: chance.once(5) ? null : bytes,
      headers: Object.fromEntries(Object.entries(headers).map(([name, text]) => [name, value(text)])),
    };
    const delivery = kafkaRecords.fromKafka(record, place, {
      source: sourceOf(chance),
      shard: "orders/0",
      deliveries: undefined,
      fence: undefined,
    });
    checkDelivery(delivery);
    check(Number.isSafeInteger(kafkaRecords.dueOf(record)), "the due time is no number");
    kafkaRecords.toKafka(copyOf(delivery), 1_767_225_600_000, chance.once(2));
    void (delivery.native as { readonly headers: unknown }).headers;
  },
};

/** As amqplib reads a table: ordinary objects, its directives, and whatever is in them. */
function amqpValue(text: string, chance: Chance, depth = 0): unknown {
  const directive = {
    "!": chance.pick(["timestamp", "decimal", text]),
    value: chance.pick<unknown>([1, 1e300, -1, { places: 2, digits: 7 }, text]),
  };
  const list = depth > 3 ? [] : Array.from({ length: chance.below(3) }, () => amqpValue(text, chance, depth + 1));
  const table = depth > 3 ? {} : { [text]: amqpValue(text, chance, depth + 1) };
  return chance.pick<unknown>([
    text,
    text,
    text,
    Buffer.from(text),
    1,
    -1.5,
    Number.NaN,
    2 ** 63,
    true,
    null,
    directive,
    list,
    table,
  ]);
}

const rabbitmq: Target = {
  name: "rabbitmq: message",
  golden: [
    plain,
    ours,
    sample("x", {
      "x-death": "a",
      "x-first-death-reason": "expired",
      "x-delivery-count": "1",
      "sluice-header-proto": "p",
    }),
  ],
  names: ["x-death", "x-first-death-reason", "x-delivery-count", "sluice-header-proto", "CC", "cloudEvents:type"],
  expected: refusal,
  run({ bytes, headers, seed }) {
    const chance = new Chance(seed);
    const property = () =>
      chance.pick<unknown>([undefined, hostileText(chance), chance.below(9), { "!": "timestamp", value: 1e20 }]);
    const table = Object.fromEntries(Object.entries(headers).map(([name, text]) => [name, amqpValue(text, chance)]));
    const properties = {
      headers: chance.once(9) ? undefined : table,
      contentType: property(),
      messageId: property(),
      // n.b. An unsigned 64-bit number on the wire.
      timestamp: chance.pick<unknown>([undefined, 1_767_225_600, 2 ** 64, 0]),
      correlationId: property(),
      type: property(),
      priority: property(),
    };
    const fields = { deliveryTag: 1, redelivered: chance.once(2), exchange: "", routingKey: "", consumerTag: "c" };
    const message = { content: bytes, fields, properties } as unknown as AmqpMessage & {
      fields: { consumerTag: string };
    };
    const delivery = rabbitRecords.fromNative(message, {
      source: sourceOf(chance),
      shard: "q",
      counts: chance.once(2),
    });
    checkDelivery(delivery);
    rabbitRecords.toNative(copyOf(delivery).record, { from: delivery.native, longestHeaders: 60_000 });
  },
};

export const drivers: readonly Target[] = [kafka, rabbitmq, ...clouds, ...redises];
