import type { CompatibilityLevel, SchemaType } from "../compatibility/types.ts";

/** A schema file that others rely on, and what must stay true of it. */
export interface Contract {
  /** From the working directory, with `/`. */
  readonly path: string;
  readonly type: SchemaType;
  readonly level: CompatibilityLevel;
  readonly policy: "strict" | "lenient";
}

/** An older version of a contract's file. */
export interface Version {
  /** How people find it: a git ref, a short commit, a path. */
  readonly label: string;
  readonly text: string;
}

/** Wrong use of the command: exit code 2. */
export class UsageError extends Error {
  override readonly name: string = "UsageError";
}

/** The format of a file by its name; undefined for a file that is no schema. Any `.json` that is named may be one. */
export function typeOf(path: string): SchemaType | undefined {
  if (path.endsWith(".avsc")) return "avro";
  if (path.endsWith(".proto")) return "protobuf";
  return path.endsWith(".json") ? "json-schema" : undefined;
}

/** Whether a file that nobody named is a schema: `.json` only with `.schema.json` or the `$schema` of JSON Schema. */
export function looksLikeSchema(path: string, text: string): boolean {
  const type = typeOf(path);
  if (type !== "json-schema" || path.endsWith(".schema.json")) return type !== undefined;
  return /^\s*\{\s*"\$schema"\s*:\s*"https?:\/\/json-schema\.org\//.test(text.slice(0, 1000));
}
