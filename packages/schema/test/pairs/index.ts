import { readFileSync } from "node:fs";
import type { SchemaType } from "@sluice/schema/compatibility";

/** Two versions of a schema, and who says what about them. */
export interface SchemaPair {
  readonly type: SchemaType;
  /** The documents list differences by it. */
  readonly name: string;
  readonly old: string;
  readonly new: string;
  /** Our verdict: whether the new schema reads what the old one wrote, and the reverse. */
  readonly backward: boolean;
  readonly forward: boolean;
  /** Where Apicurio Registry judges otherwise: its verdict, and by which rule ours is what it is. */
  readonly apicurio?: { readonly backward?: boolean; readonly forward?: boolean; readonly because: string };
}

interface Table {
  /** By name: `because` of a pair is one of these names. */
  readonly reasons: Readonly<Record<string, string>>;
  /** Schemas of Protobuf are lines of text, all others JSON. */
  readonly pairs: readonly (Omit<SchemaPair, "type" | "old" | "new"> & {
    readonly old: unknown;
    readonly new: unknown;
  })[];
}

function read(type: SchemaType): readonly SchemaPair[] {
  const { reasons, pairs } = JSON.parse(readFileSync(new URL(`${type}.json`, import.meta.url), "utf8")) as Table;
  const text = (schema: unknown) =>
    type === "protobuf" ? (schema as readonly string[]).join("\n") : JSON.stringify(schema);
  return pairs.map(({ apicurio, ...pair }) => ({
    ...pair,
    type,
    old: text(pair.old),
    new: text(pair.new),
    ...(apicurio === undefined ? {} : { apicurio: { ...apicurio, because: reasons[apicurio.because] ?? "" } }),
  }));
}

/** Every pair: asked without a registry by the unit tests, and of a real one by the integration test. */
export const schemaPairs: readonly SchemaPair[] = [...read("avro"), ...read("json-schema"), ...read("protobuf")];
