// Our verdict on Avro schemas beside that of avsc, which makes a resolver or refuses to.
import { compatible } from "@sluice/schema/compatibility";
import avsc from "avsc";
import fc from "fast-check";
import { expect, it } from "vitest";

type Schema = string | readonly Schema[] | { readonly [member: string]: unknown };

const primitives = fc.constantFrom("null", "boolean", "int", "long", "float", "double", "bytes", "string");
const defaults: Readonly<Record<string, unknown>> = {
  null: null,
  boolean: false,
  int: 0,
  long: 0,
  bytes: "",
  string: "",
};

/** Names by place: avsc compares more of them than the specification says. */
const named = <Value extends object>(value: fc.Arbitrary<Value>, type: string): fc.Arbitrary<Schema> =>
  value.map((members) => ({ type, name: `Some${type}`, ...members }));

const field = (type: fc.Arbitrary<Schema>) =>
  fc
    .record({ name: fc.constantFrom("a", "b", "c"), type, optional: fc.boolean() })
    .map(({ name, type: own, optional }) => {
      const hasDefault = optional && typeof own === "string" && Object.hasOwn(defaults, own);
      return { name, type: own, ...(hasDefault ? { default: defaults[own] } : {}) };
    });

const array = (items: fc.Arbitrary<Schema>) => items.map((each): Schema => ({ type: "array", items: each }));
const map = (values: fc.Arbitrary<Schema>) => values.map((each): Schema => ({ type: "map", values: each }));
const symbols = fc.uniqueArray(fc.constantFrom("A", "B", "C"), { minLength: 1 });
const leaves: fc.Arbitrary<Schema> = fc.oneof(
  { weight: 4, arbitrary: primitives },
  { weight: 1, arbitrary: fc.uniqueArray(primitives, { minLength: 1, maxLength: 3 }) },
  { weight: 1, arbitrary: named(fc.record({ symbols }), "enum") },
  {
    weight: 1,
    arbitrary: named(
      symbols.map((list) => ({ symbols: list, default: list[0] })),
      "enum",
    ),
  },
  { weight: 1, arbitrary: named(fc.record({ size: fc.constantFrom(1, 2) }), "fixed") },
);
const inner = fc.oneof(leaves, array(leaves), map(leaves), array(map(primitives)));
// One field may have a named type; a second definition of the same name would not be a schema.
const record = fc
  .tuple(
    field(inner),
    fc.uniqueArray(field(fc.oneof(primitives, array(primitives))), { maxLength: 2, selector: ({ name }) => name }),
  )
  .map(([first, others]): Schema => ({
    type: "record",
    name: "Order",
    fields: [first, ...others.filter(({ name }) => name !== first.name)],
  }));
const schemas = fc.oneof(record, inner);
const changes = fc.oneof(
  fc.tuple(schemas, schemas),
  fc.tuple(record, record),
  schemas.map((each) => [each, each] as const),
  inner
    .filter((each) => !JSON.stringify(each).includes('"long"'))
    .map((each) => [each, JSON.parse(JSON.stringify(each).replaceAll('"int"', '"long"')) as Schema] as const),
);

function resolves(writer: Schema, reader: Schema): boolean {
  // n.b. avsc keeps the names it has seen in its options: new ones for each.
  const [written, read] = [writer, reader].map((each) => {
    const options = { wrapUnions: "always" } as unknown as Parameters<typeof avsc.Type.forSchema>[1];
    return avsc.Type.forSchema(each as avsc.Schema, options);
  });
  if (written === undefined || read === undefined) throw new Error("two schemas make two types");
  try {
    read.createResolver(written);
    return true;
  } catch {
    return false;
  }
}

it("agrees with avsc on random schemas", () => {
  const verdicts = { yes: 0, no: 0 };
  fc.assert(
    fc.property(changes, ([writer, reader]) => {
      const against = [JSON.stringify(writer)];
      const ours = compatible({ type: "avro", level: "BACKWARD", schema: JSON.stringify(reader), against }).compatible;
      verdicts[ours ? "yes" : "no"] += 1;
      expect({ writer, reader, compatible: ours }).toEqual({ writer, reader, compatible: resolves(writer, reader) });
    }),
    { numRuns: Number(process.env["RUNS"] ?? 500), ...(process.env["RUNS"] === undefined ? { seed: 7 } : {}) },
  );
  expect(Math.min(verdicts.yes, verdicts.no)).toBeGreaterThan(50);
});
