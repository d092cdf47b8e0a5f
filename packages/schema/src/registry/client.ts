import { isSluiceError, SluiceError } from "@sluice/core";
import { abortable, type CallOptions } from "./abortable.ts";
import * as answers from "./answers.ts";
import type {
  CompatibilityLevel,
  CompatibilityVerdict,
  FoundSchema,
  RegisteredSchema,
  SchemaDefinition,
  StoredSchema,
  SubjectVersion,
} from "./answers.ts";
import { Cache, Flights } from "./cache.ts";
import type { WriterSchema } from "./format.ts";
import { type RegistryOptions, type Settings, settingsOf } from "./options.ts";
import { Lookup } from "./lookup.ts";
import { flatReferences } from "./references.ts";
import { type Call, Transport } from "./transport.ts";

/**
 * A client of a schema registry that speaks Confluent's API: Confluent, Apicurio, Karapace, Redpanda.
 *
 * Opens nothing until the first call and needs no closing. Every call may reject with a SluiceError: `UNAVAILABLE` (nobody
 * answered; it was tried again), `UNAUTHORIZED`, `FORBIDDEN`, `UNSUPPORTED` (no registry at this URL, or it does not know the
 * call), `UNKNOWN` (an answer that is not a registry's). Credentials are in no message.
 * @throws SluiceError `CONFIG` for an illegal option
 */
export function registry(options: RegistryOptions): Registry {
  return new Registry(settingsOf(options));
}

/** @see registry */
export class Registry {
  /** Base address, without credentials. */
  readonly url: string;
  readonly #transport: Transport;
  readonly #flights = new Flights();
  readonly #schemas: Cache<StoredSchema>;
  readonly #registered: Cache<RegisteredSchema>;
  readonly #versions: Cache<SubjectVersion>;
  readonly #latest: Cache<SubjectVersion>;
  readonly #missing: Cache<SluiceError>;
  readonly #lookup: Lookup;
  /** A cache with this client's limits, for codecs over it. */
  readonly newCache: <V>(of: "immutable" | "latest") => Cache<V>;

  constructor(settings: Settings) {
    const { entries, firstDelayMs: delayMs, latestMs, missingMs, runtime, url } = settings;
    this.url = url;
    this.#transport = new Transport(settings);
    this.newCache = <V>(of: "immutable" | "latest") =>
      new Cache<V>(entries, of === "latest" ? latestMs : Infinity, runtime);
    this.#schemas = this.newCache("immutable");
    this.#registered = this.newCache("immutable");
    this.#versions = this.newCache("immutable");
    this.#latest = this.newCache("latest");
    this.#missing = new Cache(entries, missingMs, runtime);
    this.#lookup = new Lookup({ runtime, delayMs, serves: () => this.#serves() });
  }

  /**
   * Registers a schema as the next version of a subject; one that is there already keeps its place.
   * @throws SluiceError `MISMATCH` when it is not compatible, with the registry's words in `issues`; `CONFIG` when it is no valid schema
   */
  register(subject: string, definition: SchemaDefinition, options?: CallOptions): Promise<RegisteredSchema> {
    return abortable(this.#register(subject, definition), options);
  }

  /**
   * Where a schema stands in a subject, without registering it.
   * @throws SluiceError `NOT_FOUND`
   */
  find(subject: string, definition: SchemaDefinition, options?: CallOptions): Promise<FoundSchema> {
    return abortable(this.#find(subject, definition), options);
  }

  /** @throws SluiceError `NOT_FOUND` */
  byId(id: number, options?: CallOptions): Promise<StoredSchema> {
    return abortable(this.#stored(pathOf({ id })), options);
  }

  /**
   * By the GUID that newer clients put into headers.
   * @throws SluiceError `NOT_FOUND`; `UNSUPPORTED` by a registry without GUIDs, such as Apicurio 2 and Karapace
   */
  byGuid(guid: string, options?: CallOptions): Promise<StoredSchema> {
    return abortable(this.#stored(pathOf({ guid })), options);
  }

  /** @throws SluiceError `NOT_FOUND` */
  version(subject: string, version: number, options?: CallOptions): Promise<SubjectVersion> {
    return abortable(this.#version(subject, version), options);
  }

  /**
   * The newest version; believed for `cache.latest`.
   * @throws SluiceError `NOT_FOUND`
   */
  latest(subject: string, options?: CallOptions): Promise<SubjectVersion> {
    return abortable(this.#newest(subject), options);
  }

  /**
   * A schema by id or GUID with the texts of everything that it refers to.
   * @throws SluiceError `NOT_FOUND`
   */
  resolved(which: Which, options?: CallOptions): Promise<WriterSchema> {
    const stored = this.#stored(pathOf(which));
    return abortable(
      stored.then((schema) => this.withReferences(schema)),
      options,
    );
  }

  /**
   * The same for a message that is there. A registry that does not know the schema may lag behind: it is asked once more after
   * `retry.firstDelay`, and then not for `cache.missing`.
   * @throws SluiceError `NOT_FOUND`; `INVALID_PAYLOAD` when the registry answers others, and this one never
   */
  ofMessage(which: Which): Promise<WriterSchema> {
    const path = pathOf(which);
    const load = async () =>
      this.withReferences(
        this.#schemas.get(path) ?? (await this.#load(path, this.#schemas, path, answers.storedSchema)),
      );
    return this.#once(`message ${path}`, () => this.#lookup.run(load));
  }

  /** The same schema with the texts of what it refers to. */
  async withReferences({ schemaType, schema, references }: StoredSchema): Promise<WriterSchema> {
    const found = await flatReferences(references, (subject, version) => this.#version(subject, version));
    return { schemaType, schema, references: found };
  }

  /**
   * Whether a schema could be registered in a subject, judged by the registry against one version or all of them.
   * @throws SluiceError `NOT_FOUND` when the subject or version is not there
   */
  check(
    subject: string,
    definition: SchemaDefinition,
    against: number | "latest" | "all" = "latest",
    options?: CallOptions,
  ): Promise<CompatibilityVerdict> {
    const versions = `/compatibility${subjectPath(subject)}/versions`;
    const call = post(`${versions}${against === "all" ? "" : `/${against}`}?verbose=true`, bodyOf(definition));
    return abortable(this.#ask(call, answers.verdict), options);
  }

  /** The compatibility level of a subject, which is the global one unless it has its own; without a subject the global one. */
  compatibility(subject?: string, options?: CallOptions): Promise<CompatibilityLevel> {
    return abortable(this.#level(subject), options);
  }

  /** Sets the level of a subject, or with `undefined` the global one. */
  async setCompatibility(level: CompatibilityLevel, subject?: string, options?: CallOptions): Promise<void> {
    const of = subject === undefined ? "" : `/${encodeURIComponent(subject)}`;
    const call = { method: "PUT", path: `/config${of}`, body: { compatibility: level } } as const;
    await abortable(this.#ask(call, answers.compatibilityLevel), options);
  }

  /** The names of all subjects. */
  subjects(options?: CallOptions): Promise<readonly string[]> {
    return abortable(this.#ask(get("/subjects"), answers.texts), options);
  }

  /**
   * The versions of a subject, oldest first.
   * @throws SluiceError `NOT_FOUND`
   */
  versions(subject: string, options?: CallOptions): Promise<readonly number[]> {
    return abortable(this.#ask(get(`${subjectPath(subject)}/versions`), answers.numbers), options);
  }

  async #register(subject: string, definition: SchemaDefinition): Promise<RegisteredSchema> {
    const key = placeKey(subject, definition);
    const known = this.#registered.get(key);
    if (known) return known;
    return this.#flights.run(`register ${key}`, async () => {
      const call = post(`${subjectPath(subject)}/versions`, bodyOf(definition));
      const registered = await this.#ask(call, answers.registeredSchema);
      this.#registered.set(key, registered);
      // What was asked before and answered "not there" is there now.
      for (const stale of [`find ${key}`, `latest ${subject}`]) this.#missing.delete(stale);
      this.#latest.delete(subject);
      return registered;
    });
  }

  async #find(subject: string, definition: SchemaDefinition): Promise<FoundSchema> {
    const key = placeKey(subject, definition);
    const known = this.#registered.get(key);
    if (known?.version !== undefined) return { ...known, version: known.version };
    return this.#once(`find ${key}`, async () => {
      const found = await this.#ask(post(subjectPath(subject), bodyOf(definition)), answers.foundSchema);
      this.#registered.set(key, found);
      return found;
    });
  }

  async #version(subject: string, version: number): Promise<SubjectVersion> {
    const path = `${subjectPath(subject)}/versions/${version}`;
    return (
      this.#versions.get(path) ?? this.#once(path, () => this.#load(path, this.#versions, path, answers.subjectVersion))
    );
  }

  async #newest(subject: string): Promise<SubjectVersion> {
    const load = () =>
      this.#load(`${subjectPath(subject)}/versions/latest`, this.#latest, subject, answers.subjectVersion);
    return this.#latest.get(subject) ?? this.#once(`latest ${subject}`, load);
  }

  async #level(subject: string | undefined): Promise<CompatibilityLevel> {
    if (subject === undefined) return this.#ask(get("/config"), answers.compatibilityLevel);
    try {
      const call = get(`/config/${encodeURIComponent(subject)}?defaultToGlobal=true`);
      return await this.#ask(call, answers.compatibilityLevel);
    } catch (error) {
      // Some registries do not know the parameter.
      if (isSluiceError(error, "NOT_FOUND")) return this.#level(undefined);
      throw error;
    }
  }

  async #stored(path: string): Promise<StoredSchema> {
    return (
      this.#schemas.get(path) ?? this.#once(path, () => this.#load(path, this.#schemas, path, answers.storedSchema))
    );
  }

  async #load<V>(path: string, cache: Cache<V>, key: string, shape: (answer: unknown, what: string) => V): Promise<V> {
    const value = await this.#ask(get(path), shape);
    cache.set(key, value);
    return value;
  }

  async #ask<V>(call: Call, shape: (answer: unknown, what: string) => V): Promise<V> {
    return shape(await this.#transport.call(call), `${call.method} ${call.path}`);
  }

  /** One flight per key, and none at all while we know that it is not there. */
  async #once<V>(key: string, load: () => Promise<V>): Promise<V> {
    const missing = this.#missing.get(key);
    if (missing) throw again(missing);
    return this.#flights.run(key, async () => {
      try {
        return await load();
      } catch (error) {
        if (isSluiceError(error, "NOT_FOUND") || isSluiceError(error, "INVALID_PAYLOAD")) this.#missing.set(key, error);
        throw error;
      }
    });
  }

  /** Asked for an id that nobody has: every registry has its own word for it, and no proxy knows it. */
  #serves(): Promise<boolean> {
    return this.#flights.run("serves", () =>
      this.#ask(get(pathOf({ id: answers.largestId })), answers.storedSchema).then(
        () => true,
        (error: unknown) => isSluiceError(error, "NOT_FOUND"),
      ),
    );
  }
}

/** A schema by one of its names. */
interface Which {
  readonly id?: number;
  readonly guid?: string;
}

function pathOf({ id = -1, guid }: Which): string {
  return guid === undefined ? `/schemas/ids/${id}` : `/schemas/guids/${encodeURIComponent(guid)}`;
}

/** An error of its own for each caller: it may get a cause or be logged with its stack. */
function again({ code, message, issues }: SluiceError): SluiceError {
  return new SluiceError(code, message, { issues });
}

function post(path: string, body: unknown): Call {
  return { method: "POST", path, body };
}

function get(path: string): Call {
  return { method: "GET", path };
}

function subjectPath(subject: string): string {
  return `/subjects/${encodeURIComponent(subject)}`;
}

/** n.b. the type of Avro is left out: the oldest registries refuse a field that they do not know. */
function bodyOf({ schemaType, schema, references = [] }: SchemaDefinition): unknown {
  return {
    schema,
    ...(schemaType !== "AVRO" && { schemaType }),
    ...(references.length > 0 && { references }),
  };
}

function placeKey(subject: string, definition: SchemaDefinition): string {
  const { schemaType, schema, references = [] } = definition;
  return JSON.stringify([subject, schemaType, schema, references.map((one) => [one.name, one.subject, one.version])]);
}
