import { type Codec, json, type StandardSchema } from "@sluice/core";
import { config, show } from "./errors.ts";
import { limited, type PayloadLimits } from "./limits.ts";

/** One of several payload types of a topic: a schema (then its bytes are JSON), a codec, something that is both, or a pair. */
export type Member = StandardSchema | Codec | MemberParts;

/** Schema and codec of a member. @see TopicFormat is one, too */
export interface MemberParts {
  readonly schema?: StandardSchema;
  /** @default core's `json()` with limits */
  readonly codec?: Codec;
}

/** Schema and codec, to be spread into the options of `topic(name, { … })`. */
export interface TopicFormat<Input, Output = Input> {
  readonly schema: StandardSchema<Input, Output>;
  readonly codec: Codec<Input>;
}

type SchemaOf<M> = M extends StandardSchema
  ? M
  : M extends { readonly schema: infer S extends StandardSchema }
    ? S
    : undefined;
type CodecPayload<M> =
  M extends Codec<infer T>
    ? T
    : M extends { readonly codec: infer C }
      ? C extends Codec<infer T>
        ? T
        : unknown
      : unknown;
type TypesOf<S extends StandardSchema> = NonNullable<S["~standard"]["types"]>;

/** What is published as this member. */
export type MemberInput<M> = SchemaOf<M> extends infer S extends StandardSchema ? TypesOf<S>["input"] : CodecPayload<M>;
/** What a handler gets of this member. */
export type MemberOutput<M> =
  SchemaOf<M> extends infer S extends StandardSchema ? TypesOf<S>["output"] : CodecPayload<M>;

/** A member taken apart. */
export interface Parts {
  readonly schema: StandardSchema | undefined;
  readonly codec: Codec;
}

/** @throws SluiceError `CONFIG` for something that is neither schema nor codec */
export function partsOf(member: Member, what: string, limits?: Partial<PayloadLimits>): Parts {
  const given: unknown = member;
  const found = isObject(given) ? (given as { schema?: unknown; codec?: unknown }) : {};
  const schema = isSchema(given) ? given : isSchema(found.schema) ? found.schema : undefined;
  const codec = isCodec(given) ? given : isCodec(found.codec) ? found.codec : undefined;
  if (schema || codec) return { schema, codec: codec ?? limited(json(), limits) };
  throw config(`${what} is neither a schema nor a codec; give one, or { schema, codec }`);
}

/**
 * For programs without types.
 * @throws SluiceError `CONFIG`
 */
export function objectOf<O>(option: O, name: string): O & object {
  if (typeof option === "object" && option !== null) return option;
  throw config(`${name} is ${show(option)}; give an object`);
}

/**
 * The name of the header that says which member it is.
 * @throws SluiceError `CONFIG`
 */
export function headerOf(given: unknown): string {
  if (typeof given === "string" && given !== "") return given;
  throw config(`header is ${show(given)}; give the name of a header`);
}

/** The media type without its parameters. */
export function mediaType(contentType: string): string {
  const end = contentType.indexOf(";");
  return (end < 0 ? contentType : contentType.slice(0, end)).trim().toLowerCase();
}

/** Whether a codec reads a content type, by the rule of core. */
export function reads(codec: Codec, given: string | undefined): boolean {
  const { contentType } = codec;
  if (given === undefined || given === contentType) return true;
  return codec.accepts ? codec.accepts(given) : mediaType(given) === mediaType(contentType);
}

function isObject(value: unknown): value is object {
  return (typeof value === "object" && value !== null) || typeof value === "function";
}

function isSchema(value: unknown): value is StandardSchema {
  return isObject(value) && "~standard" in value;
}

/** n.b. zod's schemas have `encode` and `decode`, too: a content type is what only a codec has. */
function isCodec(value: unknown): value is Codec {
  return isObject(value) && "contentType" in value && "encode" in value && "decode" in value;
}
