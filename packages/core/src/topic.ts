import { type Codec, json } from "./codec.ts";
import { SluiceError } from "./errors.ts";
import type { StandardSchema } from "./schema.ts";

export interface TopicOptions<Input, Output> {
  /** Any Standard Schema (zod, valibot, arktype, …). Checked at publish and before the handler. @default none */
  readonly schema?: StandardSchema<Input, Output>;
  /** Payload to bytes. @default json() */
  readonly codec?: Codec;
  /** Same key → same lane. Given the checked payload. @default no key */
  readonly key?: (payload: Output) => string | null;
  /** Whether messages of one key are handled one after another, in order. @default 'key' when `key` is given, else 'none' */
  readonly ordering?: "key" | "none";
  /** Parallelism on the broker: partitions, ordered queues or streams. A power of two. Fixed once created. @default 8 */
  readonly shards?: number;
  /** Groups that begin when the topic is first used, by whoever uses it: a producer that starts first loses nothing. @default [] */
  readonly groups?: readonly string[];
  /** What publishing does when nobody keeps the message. @default 'error' */
  readonly unrouted?: "error" | "allow";
}

/** A topic whose payload types do not matter: what takes it never touches a payload. */
export interface AnyTopic {
  readonly name: string;
  readonly schema: StandardSchema | undefined;
  readonly codec: Codec;
  readonly key: ((payload: never) => string | null) | undefined;
  readonly ordering: "key" | "none";
  readonly shards: number;
  readonly groups: readonly string[];
  readonly unrouted: "error" | "allow";
  readonly types?: { readonly input: unknown; readonly output: unknown };
}

/** A named, typed contract that both sides import. `Input` is what is published, `Output` what a handler gets. */
export interface Topic<Input = unknown, Output = Input, Name extends string = string> extends AnyTopic {
  readonly name: Name;
  readonly schema: StandardSchema<Input, Output> | undefined;
  readonly key: ((payload: Output) => string | null) | undefined;
  /** Never set: carries the types. */
  readonly types?: { readonly input: Input; readonly output: Output };
}

/** What is published to a topic. */
export type InputOf<T extends AnyTopic> = NonNullable<T["types"]>["input"];
/** What a handler of a topic gets. */
export type OutputOf<T extends AnyTopic> = NonNullable<T["types"]>["output"];

/**
 * Declares a topic. Nothing reaches a broker until a bus uses it.
 *
 * @param name letters, digits, `.`, `_` and `-`, beginning with a letter or digit, at most 128 characters
 * @throws SluiceError `CONFIG` for an illegal name or option
 */
export function topic<Input, Output, const Name extends string>(
  name: Name,
  options: TopicOptions<Input, Output> & {
    readonly schema: StandardSchema<Input, Output>;
    // Never the reason for the type: most codecs take anything.
    readonly codec?: Codec<NoInfer<Input>>;
  },
): Topic<Input, Output, Name>;
/** Without a schema the types are those of the codec. */
export function topic<Input, const Name extends string>(
  name: Name,
  options: TopicOptions<Input, Input> & { readonly schema?: undefined; readonly codec: Codec<Input> },
): Topic<Input, Input, Name>;
export function topic<Input = unknown, Output = Input, const Name extends string = string>(
  name: Name,
  options?: TopicOptions<Input, Output>,
): Topic<Input, Output, Name>;
export function topic<Input, Output, Name extends string>(
  name: Name,
  options: TopicOptions<Input, Output> = {},
): Topic<Input, Output, Name> {
  checkName("topic", name);
  const { shards = 8, groups = [] } = options;
  if (!Number.isInteger(Math.log2(shards)) || shards > 1024) {
    throw new SluiceError("CONFIG", `sluice: topic "${name}" has shards ${shards}; give a power of two from 1 to 1024`);
  }
  for (const group of groups) checkName("group", group);
  return Object.freeze({
    name,
    schema: options.schema,
    codec: options.codec ?? json(),
    key: options.key,
    ordering: options.ordering ?? (options.key ? "key" : "none"),
    shards,
    groups: Object.freeze([...groups]),
    unrouted: options.unrouted ?? "error",
  });
}

/** @throws SluiceError `CONFIG` unless the name is legal on every broker, with room for what drivers add. */
export function checkName(what: "topic" | "group" | "broadcast", name: string): void {
  if (typeof name === "string" && name.length <= 128 && /^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(name)) return;
  throw new SluiceError(
    "CONFIG",
    `sluice: ${what} name ${JSON.stringify(name)} is not legal; use 1 to 128 of letters, digits, ".", "_" and "-", ` +
      `beginning with a letter or digit`,
  );
}
