// By field number, as the binary format does. Names are free to change, except those that other files refer to.
import type { Budget } from "../budget.ts";
import type { Comparison, Finding } from "../types.ts";
import { parseProto, type ProtoField, type ProtoFile, type ProtoMessage, type ProtoType } from "./parse.ts";

export function protobufComparison(): Comparison<ProtoFile> {
  return { parse: parseProto, read };
}

function read(reader: ProtoFile, writer: ProtoFile, budget: Budget): readonly Finding[] {
  const findings: Finding[] = [];
  if (reader.package !== writer.package) {
    findings.push({
      path: "package",
      reason: `the package was "${writer.package}" for the writer and is "${reader.package}" for the reader`,
    });
  }
  for (const [name, written] of writer.messages) {
    budget.spend();
    const message = reader.messages.get(name);
    if (message !== undefined) findings.push(...compareMessage(name, message, written, budget));
    else if (!gone(name, reader, writer)) {
      findings.push({ path: name, reason: `the reader has no message ${name}` });
    }
  }
  return findings;
}

/** Whether a message around this one is missing as well, which says it for both. */
function gone(name: string, reader: ProtoFile, writer: ProtoFile): boolean {
  const outer = name.slice(0, Math.max(0, name.lastIndexOf(".")));
  return writer.messages.has(outer) && !reader.messages.has(outer);
}

function compareMessage(name: string, reader: ProtoMessage, writer: ProtoMessage, budget: Budget): readonly Finding[] {
  const findings: Finding[] = [];
  const report = (part: string | number, reason: string) => void findings.push({ path: `${name}.${part}`, reason });
  budget.spend(reader.fields.size + writer.fields.size);
  for (const [number, field] of writer.fields) {
    const counterpart = reader.fields.get(number);
    if (counterpart !== undefined) compareField(counterpart, field, (reason) => report(number, reason));
    else if (field.label === "required") report(number, `the required field "${field.name}" is gone`);
    else if (field.oneof !== undefined && reader.oneofs.has(field.oneof)) {
      report(
        number,
        `the field "${field.name}" is gone from the oneof "${field.oneof}": the reader sees an unset oneof`,
      );
    }
  }
  for (const [number, field] of reader.fields) {
    if (field.label !== "required" || writer.fields.has(number)) continue;
    report(number, `the required field "${field.name}" was not written`);
  }
  for (const [oneof, numbers] of reader.oneofs) {
    const problem = mergedFields(numbers, writer);
    if (problem !== undefined)
      report(oneof, `${problem}: a message may hold more than one of them, and all but the last are lost`);
  }
  return findings;
}

/** Whether fields that could be set at the same time exclude each other now. */
function mergedFields(numbers: readonly number[], writer: ProtoMessage): string | undefined {
  const written = numbers.map((number) => writer.fields.get(number)).filter((field) => field !== undefined);
  const free = written.filter(({ oneof }) => oneof === undefined);
  const oneofs = new Set(written.map(({ oneof }) => oneof).filter((oneof) => oneof !== undefined));
  if (free.length > 1) return `the fields ${free.map((field) => field.name).join(", ")} were moved into this oneof`;
  if (free.length === 1 && oneofs.size > 0) return `the field "${free[0]?.name}" was moved into an existing oneof`;
  return oneofs.size > 1 ? `the oneofs ${[...oneofs].join(", ")} were merged into this one` : undefined;
}

function compareField(reader: ProtoField, writer: ProtoField, report: (reason: string) => void): void {
  const same = `the field "${writer.name}"`;
  if ((reader.key === undefined) !== (writer.key === undefined)) {
    return report(`${same} was ${describe(writer)} and is ${describe(reader)}`);
  }
  if (reader.key !== undefined && writer.key !== undefined && reader.key.identity !== writer.key.identity) {
    return report(`the keys of the map "${writer.name}" were ${writer.key.text} and are ${reader.key.text}`);
  }
  if (!sameType(reader.value, writer.value)) {
    return report(`${same} was ${describe(writer)} and is ${describe(reader)}`);
  }
  if (reader.label === "required" && writer.label !== "required") {
    return report(`${same} was ${writer.label} and is required`);
  }
  const numeric = writer.value.kind === "scalar" && writer.value.identity !== "text";
  if (numeric && (reader.label === "repeated") !== (writer.label === "repeated")) {
    report(`${same} is a number and was ${writer.label} and is ${reader.label}`);
  }
}

function sameType(reader: ProtoType, writer: ProtoType): boolean {
  return reader.kind === writer.kind && reader.identity === writer.identity;
}

function describe(field: ProtoField): string {
  const { key, value } = field;
  return key === undefined
    ? `${value.kind === "group" ? "group " : ""}${value.text}`
    : `map<${key.text}, ${value.text}>`;
}
