// What goes from group to group: each kind of schema once.
import { topic, type Topic } from "@sluice/core";
import { versioned } from "@sluice/schema";
import { avro } from "@sluice/schema/avro";
import { jsonSchema } from "@sluice/schema/json-schema";
import { z } from "zod";

export interface Order {
  readonly id: string;
  readonly customer: string;
  readonly items: readonly string[];
}

/** Orders had one item once; who wrote that is still understood. */
export const OrderPlaced: Topic<Order> = topic("observed.orders", {
  ...versioned({
    versions: {
      1: z.object({ id: z.string(), customer: z.string(), item: z.string() }),
      2: z.object({ id: z.string(), customer: z.string(), items: z.array(z.string()).min(1).readonly() }),
    },
    upcast: { 1: ({ item, ...order }) => ({ ...order, items: [item] }) },
  }),
  groups: ["billing", "statistics"],
  shards: 1,
});

export interface Invoice {
  readonly order: string;
  readonly cents: number;
}

export const InvoiceMade: Topic<Invoice> = topic("observed.invoices", {
  schema: jsonSchema<Invoice>({
    type: "object",
    properties: { order: { type: "string" }, cents: { type: "integer", minimum: 0 } },
    required: ["order", "cents"],
    additionalProperties: false,
  }),
  groups: ["ledger"],
  shards: 1,
});

export interface Parcel {
  readonly order: string;
  readonly grams: number;
}

const parcel = avro<Parcel>({
  type: "record",
  name: "Parcel",
  fields: [
    { name: "order", type: "string" },
    { name: "grams", type: "int" },
  ],
});

export const ParcelPacked: Topic<Parcel> = topic("observed.parcels", {
  schema: parcel,
  codec: parcel,
  groups: ["shipping"],
  shards: 1,
});

export interface Label {
  readonly order: string;
  /** Large: the broker gets a reference. */
  readonly picture: string;
}

export const LabelDrawn: Topic<Label> = topic("observed.labels", {
  schema: z.object({ order: z.string(), picture: z.string() }),
  groups: ["printer"],
  shards: 1,
});

export interface Mail {
  readonly order: string;
  readonly text: string;
}

export const MailRequested: Topic<Mail> = topic("observed.mails", {
  schema: z.object({ order: z.string(), text: z.string() }),
  groups: ["mailer"],
  shards: 1,
});

export interface Receipt {
  readonly order: string;
}

export const OrderDone: Topic<Receipt> = topic("observed.receipts", {
  schema: z.object({ order: z.string() }),
  groups: ["archive"],
  shards: 1,
});
