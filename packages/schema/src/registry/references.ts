import { SluiceError } from "@sluice/core";
import type { RegisteredSchema, SchemaDefinition, SchemaReference, StoredSchema } from "./answers.ts";
import type { SchemaFormat, SchemaReferenceText, WriterSchema } from "./format.ts";

const mostSchemas = 200;
const deepest = 32;

/**
 * The texts of everything that is referred to, directly or not: what a schema needs stands before it.
 * @throws SluiceError `UNKNOWN` for references that go in a circle, contradict each other or have no end
 */
export async function flatReferences(
  references: readonly SchemaReference[],
  load: (subject: string, version: number) => Promise<StoredSchema>,
): Promise<WriterSchema["references"]> {
  const texts = new Map<string, string>();
  const done = new Set<string>();
  const visit = async (list: readonly SchemaReference[], path: readonly string[]): Promise<void> => {
    for (const { name, subject, version } of list) {
      const place = JSON.stringify([name, subject, version]);
      if (path.includes(place)) throw strange(`${name} in a circle`);
      if (done.has(place)) continue;
      if (path.length >= deepest || done.size >= mostSchemas) throw strange(`too many others (${mostSchemas} at most)`);
      done.add(place);
      const { schema, references: next } = await load(subject, version);
      await visit(next, [...path, place]);
      if ((texts.get(name) ?? schema) !== schema) throw strange(`two different schemas as ${name}`);
      texts.set(name, schema);
    }
  };
  await visit(references, []);
  return [...texts].map(([name, schema]) => ({ name, schema }));
}

function strange(detail: string): SluiceError {
  return new SluiceError("UNKNOWN", `registry: a schema refers to ${detail}; correct it in the registry`);
}

/** Registers a schema, or finds it. */
export type Place = (subject: string, definition: SchemaDefinition) => Promise<RegisteredSchema>;

/** A format's schema with what it refers to as references: each stands in a subject of its own name, as Kafka's clients do it. */
export async function definitionOf(
  { schemaType, schemaText, references = [] }: Pick<SchemaFormat, "schemaType" | "schemaText" | "references">,
  place: Place,
  find: Place,
): Promise<SchemaDefinition> {
  const placed: SchemaReference[] = [];
  for (const reference of references) placed.push(await placeOf(reference));
  return { schemaType, schema: schemaText, references: placed };

  async function placeOf({ name, schema, references: own = [] }: SchemaReferenceText): Promise<SchemaReference> {
    const definition = await definitionOf({ schemaType, schemaText: schema, references: own }, place, find);
    const placedAt = await place(name, definition);
    // Some registries tell the version only when they are asked.
    const version = placedAt.version ?? (await find(name, definition)).version;
    if (version === undefined) throw strange(`${name}, whose version the registry does not tell`);
    return { name, subject: name, version };
  }
}
