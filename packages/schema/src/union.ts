import type { Codec, WireMessage } from "@sluice/core";
import { config, invalid, show, whatOf } from "./errors.ts";
import type { PayloadLimits } from "./limits.ts";
import {
  headerOf,
  type Member,
  type MemberInput,
  type MemberOutput,
  objectOf,
  type Parts,
  partsOf,
  reads,
  type TopicFormat,
} from "./member.ts";
import { follow, standard } from "./standard.ts";

/** Members by the name that the wire gives them. */
export type Members = Readonly<Record<string, Member>>;

/** What is published: one of the members, named. */
export type UnionInput<M extends Members> = {
  [Name in keyof M & string]: { readonly type: Name; readonly payload: MemberInput<M[Name]> };
}[keyof M & string];

/** What a handler gets: `switch (event.type)` knows each member's payload, and the compiler whether one is missing. */
export type UnionOutput<M extends Members> = {
  [Name in keyof M & string]: { readonly type: Name; readonly payload: MemberOutput<M[Name]> };
}[keyof M & string];

export interface UnionOptions<Name extends string = string> {
  /** The header that names the member. @default "message-type" */
  readonly header?: string;
  /** The member of a message without that header. @default none: such a message is dead-lettered */
  readonly missing?: Name;
  /** Of members without a codec of their own. @default defaultPayloadLimits */
  readonly limits?: Partial<PayloadLimits>;
}

/**
 * Several types on one topic. A payload is `{ type, payload }`; on the wire the body is the member's own, in its own format, and a
 * header names the member. Spread it into the topic: `topic("orders", { ...union({ … }), key: (event) => … })`.
 *
 * A message of an unknown member is dead-lettered (`INVALID_PAYLOAD`, with the known names): redrive it once you know the type.
 * @throws SluiceError `CONFIG` for an empty union or illegal names
 */
export function union<const M extends Members>(
  members: M,
  options: UnionOptions<keyof M & string> = {},
): TopicFormat<UnionInput<M>, UnionOutput<M>> {
  const { limits, missing, ...given } = objectOf(options, "what union() takes beside the members");
  const header = headerOf(given.header ?? "message-type");
  const entries = Object.entries(objectOf(members, "what union() takes"));
  const table = new Map(entries.map(([name, member]) => [name, named(name, member, limits)]));
  if (table.size === 0) throw config("a union without members; name at least one");
  if (missing !== undefined && !table.has(missing)) {
    throw config(`${show(missing)} is not a member; missing must be one of ${list(table)}`);
  }
  return {
    schema: standard<UnionInput<M>, UnionOutput<M>>("sluice", (value) => validate(table, value) as never),
    codec: unionCodec(table, header, missing) as Codec<UnionInput<M>>,
  };
}

function named(name: string, member: Member, limits: Partial<PayloadLimits> | undefined): Parts {
  // It travels as a header's value: brokers differ in what else they carry.
  if (/^[\x21-\x7e]{1,128}$/.test(name)) return partsOf(member, `member "${name}"`, limits);
  throw config(`member name ${show(name)}; use 1 to 128 printable ASCII characters`);
}

function validate(table: ReadonlyMap<string, Parts>, value: unknown): unknown {
  const found = find(table, value);
  if (typeof found === "string") return { issues: [{ message: found, path: ["type"] }] };
  const { type, payload, parts } = found;
  if (!parts.schema) return { value: { type, payload } };
  return follow(parts.schema["~standard"].validate(payload), (result) => {
    const { issues, value: checked } = result as {
      issues?: readonly { message: string; path?: readonly unknown[] }[];
      value?: unknown;
    };
    if (!issues) return { value: { type, payload: checked } };
    return { issues: issues.map(({ message, path = [] }) => ({ message, path: ["payload", ...path] })) };
  });
}

interface Found {
  readonly type: string;
  readonly payload: unknown;
  readonly parts: Parts;
}

/** A text says what is wrong. */
function find(table: ReadonlyMap<string, Parts>, value: unknown): Found | string {
  const { type, payload } = typeof value === "object" && value !== null ? (value as Partial<Found>) : {};
  const parts = typeof type === "string" ? table.get(type) : undefined;
  if (parts === undefined || type === undefined) return `${show(type)} is not one of ${list(table)}`;
  return { type, payload, parts };
}

function unionCodec(table: ReadonlyMap<string, Parts>, header: string, missing: string | undefined): Codec {
  const codecs = [...table.values()].map(({ codec }) => codec);
  return {
    contentType: codecs[0]?.contentType ?? "",
    accepts: (contentType) => codecs.some((codec) => reads(codec, contentType)),
    encode(value, message) {
      const found = find(table, value);
      if (typeof found === "string") {
        throw invalid(whatOf("union", message), [{ path: "type", message: found }], "name a member of the union");
      }
      const { codec } = found.parts;
      message.headers[header] = found.type;
      message.headers["content-type"] = codec.contentType;
      return codec.encode(found.payload, message);
    },
    decode(body, message) {
      const type = message.headers[header] ?? missing;
      const { codec } = memberOf(table, type, header, message);
      return follow(codec.decode(body, message), (payload) => ({ type, payload }));
    },
  };
}

function memberOf(
  table: ReadonlyMap<string, Parts>,
  type: string | undefined,
  header: string,
  message: WireMessage,
): Parts {
  const parts = type === undefined ? undefined : table.get(type);
  if (!parts) {
    const found = type === undefined ? `no header "${header}"` : `header "${header}" is ${show(type)}`;
    const help = "add the type to the union, then redrive the message";
    const text = `${found}; the union knows ${list(table)}`;
    throw invalid(whatOf("union", message), [{ path: "", message: text }], help);
  }
  const given = message.headers["content-type"];
  if (reads(parts.codec, given)) return parts;
  const text = `content type "${given}", but "${type}" is read as "${parts.codec.contentType}"`;
  throw invalid(whatOf("union", message), [{ path: "", message: text }]);
}

function list(table: ReadonlyMap<string, Parts>): string {
  const names = [...table.keys()].map((name) => `"${name}"`);
  return names.length > 20 ? `${names.slice(0, 20).join(", ")}, … (${names.length})` : names.join(", ");
}
