// Our verdict on compatibility beside a real registry's: every pair of the table is asked, both ways.
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { compatible, type SchemaType } from "@sluice/schema/compatibility";
import { afterAll, describe, expect, test } from "vitest";
import { apicurio } from "../registry/index.ts";

const started = await apicurio();
const server = "unavailable" in started ? undefined : started;
process.stdout.write(
  "unavailable" in started ? `apicurio unavailable: ${started.unavailable}\n` : `apicurio ${started.version}\n`,
);
afterAll(() => server?.close());

const typeNames: Readonly<Record<SchemaType, string>> = { avro: "AVRO", "json-schema": "JSON", protobuf: "PROTOBUF" };

interface SchemaPair {
  readonly type: SchemaType;
  readonly name: string;
  readonly old: string;
  readonly new: string;
  /** Our verdict. */
  readonly backward: boolean;
  readonly forward: boolean;
  /** The registry's, where it is another one. */
  readonly apicurio?: { readonly backward?: boolean; readonly forward?: boolean };
}

/** The data of the package's own unit test: Protobuf as lines of text, the others as JSON. */
function table(type: SchemaType): readonly SchemaPair[] {
  const file = new URL(`../../packages/schema/test/pairs/${type}.json`, import.meta.url);
  const { pairs } = JSON.parse(readFileSync(file, "utf8")) as {
    readonly pairs: readonly (Omit<SchemaPair, "old" | "new"> & Readonly<Record<"old" | "new", unknown>>)[];
  };
  const text = (schema: unknown) =>
    type === "protobuf" ? (schema as readonly string[]).join("\n") : JSON.stringify(schema);
  return pairs.map((pair) => ({ ...pair, type, old: text(pair.old), new: text(pair.new) }));
}
const schemaPairs = [...table("avro"), ...table("json-schema"), ...table("protobuf")];

async function ask(method: "POST" | "PUT", path: string, body: unknown): Promise<Readonly<Record<string, unknown>>> {
  const answer = await fetch(`${server?.url}${path}`, {
    method,
    headers: { "content-type": "application/vnd.schemaregistry.v1+json" },
    body: JSON.stringify(body),
  });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
  return JSON.parse(text) as Readonly<Record<string, unknown>>;
}

async function register(type: SchemaType, ...versions: readonly string[]): Promise<string> {
  const subject = `pair-${randomUUID()}`;
  for (const schema of versions) {
    await ask("POST", `/subjects/${subject}/versions`, { schema, schemaType: typeNames[type] });
  }
  return subject;
}

async function verdict(subject: string, level: string, type: SchemaType, schema: string): Promise<boolean> {
  await ask("PUT", `/config/${subject}`, { compatibility: level });
  const versions = level.endsWith("_TRANSITIVE") ? "versions" : "versions/latest";
  const path = `/compatibility/subjects/${subject}/${versions}?verbose=true`;
  return (await ask("POST", path, { schema, schemaType: typeNames[type] }))["is_compatible"] === true;
}

const stated = ({ backward, forward, apicurio: other }: SchemaPair) => ({
  backward: other?.backward ?? backward,
  forward: other?.forward ?? forward,
});

describe("the table of schema pairs", () => {
  test.skipIf(!server).for(schemaPairs)("$type: $name", async (pair) => {
    const { type, old, new: schema, backward, forward } = pair;
    const ours = (level: "BACKWARD" | "FORWARD") => compatible({ type, level, schema, against: [old] }).compatible;
    expect({ backward: ours("BACKWARD"), forward: ours("FORWARD") }).toEqual({ backward, forward });
    const subject = await register(type, old);
    const theirs = {
      backward: await verdict(subject, "BACKWARD", type, schema),
      forward: await verdict(subject, "FORWARD", type, schema),
    };
    expect(theirs).toEqual(stated(pair));
  });

  test("has at least a hundred pairs, and no difference that is none", () => {
    expect(schemaPairs.length).toBeGreaterThanOrEqual(100);
    const differing = schemaPairs.filter(({ apicurio: other }) => other !== undefined);
    const same = differing.filter((pair) => {
      const theirs = stated(pair);
      return theirs.backward === pair.backward && theirs.forward === pair.forward;
    });
    expect(same).toEqual([]);
  });
});

describe("levels over several versions", () => {
  const record = (...fields: readonly object[]) => JSON.stringify({ type: "record", name: "Order", fields });
  const id = { name: "id", type: "string" };
  const field = (type: string, value: unknown) => ({ name: "n", type, default: value });
  const versions = [record(id, field("int", 1)), record(id)];
  const cases = [
    ["BACKWARD", record(id, field("string", ""))],
    ["BACKWARD_TRANSITIVE", record(id, field("string", ""))],
    ["BACKWARD_TRANSITIVE", record(id, field("long", 1))],
    ["FORWARD", record(id, field("long", 1))],
    ["FORWARD_TRANSITIVE", record(id, field("long", 1))],
    ["FULL", record(id, field("string", ""))],
    ["FULL_TRANSITIVE", record(id, field("string", ""))],
    ["FULL_TRANSITIVE", record(id, field("int", 2))],
    ["NONE", '"int"'],
  ] as const;

  test.skipIf(!server).for(cases)("%s: %s", async ([level, schema]) => {
    const subject = await register("avro", ...versions);
    const { compatible: ours } = compatible({ type: "avro", level, schema, against: versions });
    expect(await verdict(subject, level, "avro", schema)).toBe(ours);
  });
});
