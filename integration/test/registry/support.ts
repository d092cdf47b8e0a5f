import { randomUUID } from "node:crypto";
import type { Codec } from "@sluice/core";
import { avro } from "@sluice/schema/avro";
import {
  registered,
  type RegisteredOptions,
  type Registry,
  registry,
  type RegistryOptions,
  type SchemaDefinition,
} from "@sluice/schema/registry";
import { brokers } from "../../brokers/index.ts";
import { apicurio, type RunningRegistry } from "../../registry/index.ts";

// Started once for all suites: a start takes ten seconds.
const started = await apicurio();
/** `undefined` where there is no Java. */
export const server: RunningRegistry | undefined = "unavailable" in started ? undefined : started;
process.stdout.write(
  server
    ? `apicurio ${server.version} at ${server.url}\n`
    : `apicurio unavailable: ${"unavailable" in started && started.unavailable}\n`,
);

const brokersStarted = await brokers([{ broker: "kafka" }]);
process.stdout.write(`${brokersStarted.table()}\n`);
const [running] = brokersStarted.available;
/** Empty where there is no Kafka. */
export const kafkaBrokers: readonly string[] = running?.address.kind === "brokers" ? running.address.brokers : [];

export async function stopAll(): Promise<void> {
  await server?.close();
  await brokersStarted.stopAll();
}

export const orderText =
  '{"type":"record","name":"Order","namespace":"com.example","fields":[{"name":"id","type":"string"},{"name":"qty","type":"int"}]}';
export const order: SchemaDefinition = { schemaType: "AVRO", schema: orderText };
export const withNote: SchemaDefinition = {
  schemaType: "AVRO",
  schema: orderText.replace("]}", ',{"name":"note","type":"string","default":""}]}'),
};
export const qtyAsText: SchemaDefinition = { schemaType: "AVRO", schema: orderText.replace('"int"', '"string"') };

export const orderJson: Readonly<Record<string, unknown>> = {
  $schema: "http://json-schema.org/draft-07/schema#",
  title: "Order",
  type: "object",
  properties: { id: { type: "string" }, qty: { type: "integer" } },
  required: ["id"],
};
export const goldenGuid = "8ef66e27-50c8-4f9d-ac73-0b7de2e6ec7a";

export const client = (options: Partial<RegistryOptions> = {}): Registry =>
  registry({ url: server?.url ?? "http://127.0.0.1:1", ...options });
export const fresh = (): string => `subject-${randomUUID()}`;

/** The first schema of a new registry is number 1, as in the bytes that the Java serializer wrote. */
export const goldenId: number | undefined = server && (await client().register("golden", order)).id;

export interface Order {
  readonly id: string;
  readonly qty: number;
  readonly note?: string;
}

/** What the Java serializer writes for the order o-1, behind the id. */
export const golden: Buffer = Buffer.from("066f2d3106", "hex");
export const orderCodec = (options: Partial<RegisteredOptions<Order>> = {}): Codec<Order> =>
  registered({ registry: client(), format: avro<Order>(orderText), ...options });
