import { type Codec, isSluiceError, UnavailableError, type WireMessage } from "@sluice/core";
import { config, invalid, reasonOf, show, whatOf } from "./errors.ts";
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
import { check, follow, standard } from "./standard.ts";

/** Schemas or codecs by version: whole numbers without a gap. */
export type Versions = Readonly<Record<number, Member>>;

/** A decimal number's digits plus one. n.b. counting with tuples would end at a thousand, and in "excessively deep". */
type Plus<Text extends string> = Text extends `${infer Head}9`
  ? `${Head extends "" ? "1" : Plus<Head>}0`
  : Text extends `${infer Head}${keyof NextDigit}`
    ? Text extends `${Head}${infer Last extends keyof NextDigit}`
      ? `${Head}${NextDigit[Last]}`
      : never
    : never;
interface NextDigit {
  readonly "0": 1;
  readonly "1": 2;
  readonly "2": 3;
  readonly "3": 4;
  readonly "4": 5;
  readonly "5": 6;
  readonly "6": 7;
  readonly "7": 8;
  readonly "8": 9;
}
type Next<N extends number> = Plus<`${N}`> extends `${infer Number extends number}` ? Number : never;

/** The version without a successor. */
export type Newest<V> = { [N in keyof V & number]: Next<N> extends keyof V ? never : N }[keyof V & number];

/** One step for every version but the newest: what that version's schema gives → what the next version's schema takes. */
export type Upcasts<V> = {
  // n.b. over all keys, so that `old` gets its type from the context; the newest version's step could only return `never`.
  readonly [N in keyof V]?: (old: MemberOutput<V[N]>) => Following<V, N> | Promise<Following<V, N>>;
} & Readonly<Record<Exclude<keyof V, Newest<V>>, unknown>>;
type Following<V, N> = MemberInput<V[Next<N & number> & keyof V]>;

export interface VersionedOptions<V extends Versions> {
  readonly versions: V;
  /** Pure functions; the stored bytes are never rewritten. */
  readonly upcast: Upcasts<V>;
  /** The header that carries the version. @default "schema-version" */
  readonly header?: string;
  /** The version of a message without that header. @default the oldest */
  readonly missing?: keyof V & number;
  /** Of versions without a codec of their own. @default defaultPayloadLimits */
  readonly limits?: Partial<PayloadLimits>;
}

/**
 * A payload with a history. Writers publish the newest version and say so in a header; readers see the newest, whatever was
 * written: an old message is read by its own codec and schema, and brought up step by step, each step checked by the next schema.
 *
 * A message of a version that is not known yet is dead-lettered (`INVALID_PAYLOAD`): deploy, then redrive it. Deploy readers first.
 * A schema or a step that throws an UnavailableError makes its message wait; whatever else it throws is final.
 * @throws SluiceError `CONFIG` for versions with a gap, a missing step, or options of another type
 */
export function versioned<const V extends Versions>(
  options: VersionedOptions<V>,
): TopicFormat<MemberInput<V[Newest<V>]>, MemberOutput<V[Newest<V>]>> {
  type Input = MemberInput<V[Newest<V>]>;
  type Output = MemberOutput<V[Newest<V>]>;
  const history = historyOf(options);
  const { schema } = part(history, history.newest);
  const { newest } = history;
  return {
    schema: standard<Input, Output>(
      "sluice",
      (value) => (schema ? schema["~standard"].validate(value) : { value }) as never,
    ),
    codec: {
      contentType: part(history, newest).codec.contentType,
      accepts: (contentType) => [...history.parts.values()].some(({ codec }) => reads(codec, contentType)),
      encode(payload, message) {
        const { codec } = part(history, newest);
        message.headers[history.header] = String(newest);
        message.headers["content-type"] = codec.contentType;
        return codec.encode(payload, message);
      },
      decode: (body, message) => decode(history, body, message) as Input,
    } satisfies Codec<Input>,
  };
}

type Step = (old: unknown) => unknown;

interface History {
  readonly header: string;
  readonly parts: ReadonlyMap<number, Parts>;
  readonly steps: ReadonlyMap<number, Step>;
  readonly missing: number;
  readonly newest: number;
}

function historyOf<V extends Versions>(options: VersionedOptions<V>): History {
  const { limits, ...given } = objectOf(options, "what versioned() takes");
  const header = headerOf(given.header ?? "schema-version");
  const versions = objectOf(given.versions, "versions");
  const upcast = objectOf(given.upcast, "upcast") as Readonly<Record<number, Step | undefined>>;
  const numbers = numbersOf(versions);
  const [oldest = 0, newest = 0] = [numbers[0], numbers.at(-1)];
  const parts = new Map<number, Parts>();
  const steps = new Map<number, Step>();
  for (const number of numbers) {
    parts.set(number, partsOf(versions[number] as Member, `version ${number}`, limits));
    const step = upcast[number];
    if (typeof step === "function") steps.set(number, step);
    else if (number !== newest) throw config(`no step from version ${number} to ${number + 1}; give upcast[${number}]`);
  }
  const { missing = oldest } = given;
  if (parts.has(missing)) return { header, parts, steps, missing, newest };
  throw config(`missing is ${show(missing)}; give one of the versions ${numbers.join(", ")}`);
}

/** In order. n.b. a name is what the header says: "01" and "1.0" are none. */
function numbersOf(versions: object): readonly number[] {
  const names = Object.keys(versions);
  const numbers = names.map(Number).toSorted((a, b) => a - b);
  const whole = names.length > 0 && names.every((name) => /^(?:0|[1-9]\d{0,8})$/.test(name));
  if (whole && numbers.every((number, index) => number === (numbers[0] ?? 0) + index)) return numbers;
  throw config(`versions are ${names.join(", ") || "none"}; give whole numbers without a gap`);
}

function decode(history: History, body: Uint8Array, message: WireMessage): unknown {
  const version = versionOf(history, message);
  const { codec } = part(history, version);
  const given = message.headers["content-type"];
  if (!reads(codec, given)) {
    const text = `content type "${given}", but version ${version} is read as "${codec.contentType}"`;
    throw invalid(whatOf("versions", message), [{ path: "", message: text }]);
  }
  return follow(codec.decode(body, message), (value) => climb(history, version, value, message));
}

/** The newest version's own schema is the topic's: it runs after this. */
function climb(history: History, version: number, value: unknown, message: WireMessage): unknown {
  const step = history.steps.get(version);
  if (!step || version === history.newest) return value;
  const what = `${whatOf("versions", message)}, version ${version},`;
  const checked = check(part(history, version).schema, value, what);
  return follow(
    follow(checked, (old) => upcast(step, old, `${what} to ${version + 1}`)),
    (next) => climb(history, version + 1, next, message),
  );
}

function upcast(step: Step, old: unknown, what: string): unknown {
  const threw = (error: unknown): never => {
    if (isSluiceError(error) || error instanceof UnavailableError) throw error;
    throw invalid(what, [{ path: "", message: `its upcast threw: ${reasonOf(error)}` }], undefined, error);
  };
  try {
    const made = step(old);
    return made instanceof Promise ? made.catch(threw) : made;
  } catch (error) {
    return threw(error);
  }
}

function versionOf(history: History, message: WireMessage): number {
  const text = message.headers[history.header];
  if (text === undefined) return history.missing;
  const version = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
  if (history.parts.has(version)) return version;
  const known = `known are ${[...history.parts.keys()].join(", ")}`;
  const future = version > history.newest;
  const found = `header "${history.header}" is ${show(text)}; ${known}`;
  const help = future
    ? "deploy this reader with the newer version, then redrive the message"
    : "the writer must name one of them";
  throw invalid(whatOf("versions", message), [{ path: "", message: found }], help);
}

function part(history: History, version: number): Parts {
  const parts = history.parts.get(version);
  if (parts) return parts;
  throw config(`version ${version} is not known`);
}
