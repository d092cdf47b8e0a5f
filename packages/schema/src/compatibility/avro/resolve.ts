// Schema resolution of the Avro specification, decided from the schemas alone: is there anything that the writer may write
// and the reader cannot read? https://avro.apache.org/docs/1.12.0/specification/#schema-resolution
import type { Budget } from "../budget.ts";
import type { Comparison, Finding } from "../types.ts";
import { type Avro, type AvroEnum, type AvroField, type AvroRecord, join, parseAvro } from "./parse.ts";

export const avroComparison: Comparison<Avro> = {
  parse: parseAvro,
  read(reader, writer, budget) {
    const findings: Finding[] = [];
    resolve({ budget, findings, open: new Map(), log: [] }, reader, writer, nameOf(reader));
    return findings;
  },
};

interface Check {
  readonly budget: Budget;
  readonly findings: Finding[];
  /** Pairs under way or done: a recursive type asks for the same pair again, and the answer is the one being found. */
  readonly open: Map<Avro, Set<Avro>>;
  /** The same pairs, in order. */
  readonly log: (readonly [Avro, Avro])[];
}

/** Writer's primitive → what the reader may call it. */
const promotions: Readonly<Record<string, readonly string[]>> = {
  int: ["long", "float", "double"],
  long: ["float", "double"],
  float: ["double"],
  string: ["bytes"],
  bytes: ["string"],
};

function nameOf(type: Avro): string {
  return "name" in type ? type.name : type.kind;
}

function describe(type: Avro): string {
  if (type.kind === "union") return `a union of ${type.branches.map(nameOf).join(", ")}`;
  return "fullName" in type ? `the ${type.kind} ${type.fullName}` : nameOf(type);
}

function resolve(check: Check, reader: Avro, writer: Avro, path: string): void {
  if (reader === writer) return;
  const started = check.open.get(reader) ?? new Set<Avro>();
  check.open.set(reader, started);
  if (started.has(writer)) return;
  started.add(writer);
  check.log.push([reader, writer]);
  check.budget.nested(() => resolvePair(check, reader, writer, path));
}

function resolvePair(check: Check, reader: Avro, writer: Avro, path: string): void {
  const report = (reason: string) => void check.findings.push({ path, reason });
  if (writer.kind === "union") {
    for (const branch of writer.branches) resolve(check, reader, branch, path);
    return;
  }
  if (reader.kind === "union") {
    if (!reader.branches.some((branch) => readable(check, branch, writer))) {
      report(`no branch of the reader's union reads ${describe(writer)}`);
    }
    return;
  }
  if (reader.kind === "record" && writer.kind === "record") return resolveRecord(check, reader, writer, path);
  if (reader.kind === "enum" && writer.kind === "enum") return resolveEnum(check, reader, writer, path);
  if (reader.kind === "array" && writer.kind === "array")
    return resolve(check, reader.items, writer.items, join(path, "[]"));
  if (reader.kind === "map" && writer.kind === "map")
    return resolve(check, reader.values, writer.values, join(path, "{}"));
  if (reader.kind === "fixed" && writer.kind === "fixed") {
    if (!sameName(reader, writer)) return report(renamed("fixed", reader, writer));
    if (reader.size !== writer.size)
      return report(`the fixed has ${writer.size} bytes, the reader expects ${reader.size}`);
  } else if (reader.kind === "reference" || writer.kind === "reference") {
    if (nameOf(reader) !== nameOf(writer)) report(`${describe(writer)} cannot be read as ${describe(reader)}`);
    return;
  } else if (reader.kind !== writer.kind && !promotions[writer.kind]?.includes(reader.kind)) {
    return report(`${describe(writer)} cannot be read as ${describe(reader)}`);
  }
  checkDecimal(reader, writer, report);
}

/** The specification matches decimals only when scale and precision are equal: the bytes say neither. */
function checkDecimal(reader: Avro, writer: Avro, report: (reason: string) => void): void {
  const read = "decimal" in reader ? reader.decimal : undefined;
  const written = "decimal" in writer ? writer.decimal : undefined;
  if (read !== undefined && written !== undefined && read !== written) {
    report(`a decimal${written} would be read as a decimal${read}, which is another number`);
  }
}

/** A trial: what is found does not count, and where it fails, what was assumed during it is forgotten. */
function readable(check: Check, reader: Avro, writer: Avro): boolean {
  const before = check.log.length;
  const trial: Check = { ...check, findings: [] };
  resolve(trial, reader, writer, "");
  if (trial.findings.length === 0) return true;
  for (const [left, right] of check.log.splice(before)) check.open.get(left)?.delete(right);
  return false;
}

interface Nameable {
  readonly name: string;
  readonly fullName: string;
  readonly aliases: readonly string[];
}

function sameName(reader: Nameable, writer: Nameable): boolean {
  return reader.name === writer.name || reader.aliases.includes(writer.fullName);
}

function renamed(kind: string, reader: Nameable, writer: Nameable): string {
  return `the ${kind} ${writer.fullName} is called ${reader.fullName} by the reader, without an alias`;
}

function resolveRecord(check: Check, reader: AvroRecord, writer: AvroRecord, path: string): void {
  if (!sameName(reader, writer)) {
    check.findings.push({ path, reason: renamed("record", reader, writer) });
    return;
  }
  const written = new Map(writer.fields.map((field) => [field.name, field]));
  for (const field of reader.fields) {
    check.budget.spend();
    const match = written.get(field.name) ?? field.aliases.map((alias) => written.get(alias)).find(Boolean);
    if (match !== undefined) resolve(check, field.type, match.type, join(path, field.name));
    else reportMissing(check, field, join(path, field.name));
  }
}

function reportMissing(check: Check, field: AvroField, path: string): void {
  if (field.hasDefault) return;
  check.findings.push({ path, reason: `the reader's field "${field.name}" was not written and has no default` });
}

function resolveEnum(check: Check, reader: AvroEnum, writer: AvroEnum, path: string): void {
  if (!sameName(reader, writer)) {
    check.findings.push({ path, reason: renamed("enum", reader, writer) });
    return;
  }
  if (reader.fallback !== undefined) return;
  const known = new Set(reader.symbols);
  const missing = writer.symbols.filter((symbol) => !known.has(symbol));
  check.budget.spend(writer.symbols.length);
  if (missing.length === 0) return;
  const list = missing.slice(0, 5).join(", ");
  check.findings.push({ path, reason: `the reader does not know the symbols ${list} and has no default for the enum` });
}
