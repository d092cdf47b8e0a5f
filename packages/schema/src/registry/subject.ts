import { SluiceError } from "@sluice/core";
import type { SchemaFormat } from "./format.ts";

/**
 * Under which name a topic's schema stands in the registry:
 * `topic` → `<topic>-value`; `record` → the schema's full name; `topic-record` → `<topic>-<full name>`; or your own function.
 */
export type SubjectNaming = "topic" | "record" | "topic-record" | ((topic: string, format: SchemaFormat) => string);

/** @throws SluiceError `CONFIG` when the schema has no name */
export function subjectOf(naming: SubjectNaming, topic: string, format: SchemaFormat): string {
  if (typeof naming === "function") return naming(topic, format);
  if (naming === "topic") return `${topic}-value`;
  const { name, schemaType } = format;
  if (name === undefined || name === "") {
    const help = `give it one, or set "subject" to "topic" or a function`;
    throw new SluiceError("CONFIG", `registry: the ${schemaType} schema of topic "${topic}" has no name; ${help}`);
  }
  return naming === "record" ? name : `${topic}-${name}`;
}
