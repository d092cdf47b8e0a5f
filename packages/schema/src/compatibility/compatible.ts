import { SluiceError } from "@sluice/core";
import { avroComparison } from "./avro/resolve.ts";
import { Budget } from "./budget.ts";
import { jsonSchemaComparison } from "./json-schema/compare.ts";
import { protobufComparison } from "./protobuf/compare.ts";
import {
  type Comparison,
  type Compatibility,
  type CompatibilityLevel,
  compatibilityLevels,
  type CompatibilityProblem,
  maxFindings,
  type SchemaType,
} from "./types.ts";

export interface CompatibleOptions {
  readonly type: SchemaType;
  readonly level: CompatibilityLevel;
  /** The new schema's text: JSON for Avro and JSON Schema, `.proto` for Protobuf. */
  readonly schema: string;
  /** The old schemas' texts, oldest first. Empty: compatible. */
  readonly against: readonly string[];
  /**
   * JSON Schema only. `strict` (default): nothing may become invalid. `lenient`: properties may come to an open content
   * model and go from a closed one, and an open model may be closed, as with `compatibilityPolicy` of the Confluent registry.
   */
  readonly policy?: "strict" | "lenient";
}

/**
 * Judges a new schema by the rules of the Confluent Schema Registry and the Avro specification, without a registry. Where a
 * format says more than those rules look at, the stricter reading counts. Bounded: ≤ 50 ms, or an error.
 *
 * Throws `CONFIG` for a schema that is not valid or an unknown level, `TOO_LARGE` for one that nests too deep or takes too
 * long to compare,
 */
export function compatible(options: CompatibleOptions): Compatibility {
  const { type, level, schema, against, policy = "strict" } = options;
  if (!compatibilityLevels.includes(level)) {
    throw new SluiceError(
      "CONFIG",
      `compatibility: level ${JSON.stringify(level)} does not exist; use ${compatibilityLevels.join(", ")}`,
    );
  }
  if (policy !== "strict" && policy !== "lenient") {
    throw new SluiceError(
      "CONFIG",
      `compatibility: policy ${JSON.stringify(policy)} does not exist; use strict, lenient`,
    );
  }
  if (type === "avro") return judge(avroComparison, level, schema, against);
  if (type === "json-schema") return judge(jsonSchemaComparison(policy), level, schema, against);
  if (type === "protobuf") return judge(protobufComparison(), level, schema, against);
  throw new SluiceError(
    "CONFIG",
    `compatibility: type ${JSON.stringify(type)} does not exist; use avro, json-schema, protobuf`,
  );
}

function judge<Parsed>(
  comparison: Comparison<Parsed>,
  level: CompatibilityLevel,
  schema: string,
  against: readonly string[],
): Compatibility {
  const current = comparison.parse(schema, "the new schema");
  if (level === "NONE") return { compatible: true, problems: [] };
  const problems: CompatibilityProblem[] = [];
  const oldest = level.endsWith("_TRANSITIVE") ? 0 : Math.max(0, against.length - 1);
  // The newest first: what is wrong with it is what people look for.
  for (let index = against.length - 1; index >= oldest; index -= 1) {
    const old = comparison.parse(against[index] ?? "", `version ${index + 1} of the old schemas`);
    if (!level.startsWith("FORWARD")) {
      for (const found of comparison.read(current, old, new Budget()))
        problems.push({ ...found, direction: "backward", against: index });
    }
    if (!level.startsWith("BACKWARD")) {
      for (const found of comparison.read(old, current, new Budget()))
        problems.push({ ...found, direction: "forward", against: index });
    }
  }
  return { compatible: problems.length === 0, problems: problems.slice(0, maxFindings) };
}
