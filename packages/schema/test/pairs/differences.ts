import type { SchemaPair } from "./index.ts";

const formats = { avro: "Avro", "json-schema": "JSON Schema", protobuf: "Protobuf" } as const;

/** Where Apicurio judges otherwise, by reason, as lines of Markdown. */
export function differences(pairs: readonly SchemaPair[]): string {
  const reasons = new Map<string, string[]>();
  for (const { type, name, apicurio } of pairs) {
    if (apicurio === undefined) continue;
    const line = `**${formats[type]}.** ${apicurio.because}`;
    reasons.set(line, [...(reasons.get(line) ?? []), name]);
  }
  return [...reasons].map(([reason, names]) => `- ${reason} _Pairs: ${names.join("; ")}._`).join("\n");
}
