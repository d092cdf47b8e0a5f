import {
  type DescEnum,
  type DescField,
  type DescFile,
  type DescMessage,
  ScalarType,
  toBinary,
} from "@bufbuild/protobuf";
import { Edition, FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import type { SchemaReferenceText } from "../registry/format.ts";

/**
 * A file as a registry stores it: `.proto` text with its messages and enums, without services, comments and options that say nothing
 * about the bytes. For editions, groups and extensions the descriptor in base64, which registries take, too.
 */
export function protoText(file: DescFile): string {
  const { proto, edition, messages, enums, extensions } = file;
  if (edition > Edition.EDITION_PROTO3 || extensions.length > 0 || messages.some(isSpecial)) {
    return Buffer.from(toBinary(FileDescriptorProtoSchema, proto)).toString("base64");
  }
  const isProto3 = edition === Edition.EDITION_PROTO3;
  const head = [
    `syntax = "${isProto3 ? "proto3" : "proto2"}";`,
    ...(proto.package === "" ? [] : [`package ${proto.package};`]),
    ...proto.dependency.map((name) => `import "${name}";`),
  ];
  const body = [...messages.map((each) => messageText(each, isProto3, "")), ...enums.map((each) => enumText(each, ""))];
  return `${[...head, "", ...body].join("\n")}\n`;
}

/** The files that it imports, without those that every Protobuf implementation has. */
export function protoReferences({ dependencies }: DescFile): readonly SchemaReferenceText[] {
  return dependencies
    .filter(({ proto }) => !proto.name.startsWith("google/protobuf/"))
    .map((file) => ({ name: file.proto.name, schema: protoText(file), references: protoReferences(file) }));
}

/** Where the message is in its file: one number for each level. */
export function indexesOf(message: DescMessage): readonly number[] {
  const { parent, file } = message;
  return parent ? [...indexesOf(parent), parent.nestedMessages.indexOf(message)] : [file.messages.indexOf(message)];
}

function isSpecial(message: DescMessage): boolean {
  const hasGroups = message.fields.some((field) => "delimitedEncoding" in field && field.delimitedEncoding === true);
  return hasGroups || message.nestedExtensions.length > 0 || message.nestedMessages.some(isSpecial);
}

function messageText(message: DescMessage, isProto3: boolean, indent: string): string {
  const inner = `${indent}  `;
  // n.b. an `optional` field of proto3 stands in a oneof that nobody wrote.
  const oneofs = message.oneofs.map(({ name, fields }) => {
    const lines = fields.map((field) => `${inner}  ${fieldText(field, "")}`);
    return `${inner}oneof ${name} {\n${lines.join("\n")}\n${inner}}`;
  });
  const fields = message.fields
    .filter(({ oneof }) => !oneof)
    .map((field) => inner + fieldText(field, label(field, isProto3)));
  const { reservedRange, reservedName } = message.proto;
  // The end of a range is not part of it.
  const ranges = reservedRange.map(({ start, end }) => (end === start + 1 ? `${start}` : `${start} to ${end - 1}`));
  const lines = [
    ...(ranges.length > 0 ? [`${inner}reserved ${ranges.join(", ")};`] : []),
    ...(reservedName.length > 0 ? [`${inner}reserved ${reservedName.map((name) => `"${name}"`).join(", ")};`] : []),
    ...fields,
    ...oneofs,
    ...message.nestedMessages.map((each) => messageText(each, isProto3, inner)),
    ...message.nestedEnums.map((each) => enumText(each, inner)),
  ];
  return `${indent}message ${message.name} {\n${lines.map((line) => `${line}\n`).join("")}${indent}}`;
}

function enumText({ name, values, proto }: DescEnum, indent: string): string {
  const alias = proto.options?.allowAlias === true ? [`${indent}  option allow_alias = true;`] : [];
  const lines = [...alias, ...values.map((value) => `${indent}  ${value.name} = ${value.number};`)];
  return `${indent}enum ${name} {\n${lines.join("\n")}\n${indent}}`;
}

function label(field: DescField, isProto3: boolean): string {
  if (field.fieldKind === "list") return "repeated ";
  if (field.fieldKind === "map") return "";
  // `FeatureSet.FieldPresence.LEGACY_REQUIRED`.
  if (field.presence === 3) return "required ";
  return !isProto3 || field.proto.proto3Optional ? "optional " : "";
}

function fieldText(field: DescField, before: string): string {
  const { name, number, proto } = field;
  const options = [
    ...(proto.defaultValue === "" || field.fieldKind === "list" ? [] : [`default = ${defaultText(field)}`]),
    ...(proto.options?.packed === undefined || field.fieldKind !== "list" ? [] : [`packed = ${proto.options.packed}`]),
  ];
  return `${before}${typeText(field)} ${name} = ${number}${options.length > 0 ? ` [${options.join(", ")}]` : ""};`;
}

function defaultText({ proto, scalar }: DescField): string {
  const isText = scalar === ScalarType.STRING || scalar === ScalarType.BYTES;
  return isText ? JSON.stringify(proto.defaultValue) : proto.defaultValue;
}

function typeText(field: DescField): string {
  const value = field.message?.typeName ?? field.enum?.typeName ?? scalarText(field.scalar);
  return field.fieldKind === "map" ? `map<${scalarText(field.mapKey)}, ${value}>` : value;
}

function scalarText(scalar: ScalarType | undefined): string {
  return scalar === undefined ? "" : ScalarType[scalar].toLowerCase();
}
