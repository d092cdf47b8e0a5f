import { type Bytes, isSluiceError, SluiceError, type WireMessage } from "@sluice/core";
import type { SubjectVersion } from "./answers.ts";
import { type Cache, Flights } from "./cache.ts";
import type { Registry } from "./client.ts";
import type { SchemaFormat, SchemaWriter } from "./format.ts";
import { definitionOf, type Place } from "./references.ts";
import { type SubjectNaming, subjectOf } from "./subject.ts";

/** How messages of a topic are written, and the id that says so. */
export interface Writer<T> {
  readonly id: number;
  readonly guid: string | undefined;
  readonly messageIndexes: readonly number[] | undefined;
  write(payload: T, message: WireMessage): Bytes;
}

interface WritersOptions<T> {
  readonly registry: Registry;
  readonly format: SchemaFormat<T>;
  readonly subject?: SubjectNaming;
  readonly register?: "auto" | "never" | "latest";
}

/** The writers of topics: asked for once, or with `latest` again when the answer is no longer believed. */
export class Writers<T> {
  readonly #registry: Registry;
  readonly #format: SchemaFormat<T>;
  readonly #naming: SubjectNaming;
  readonly #mode: "auto" | "never" | "latest";
  readonly #flights = new Flights();
  readonly #known: Cache<Writer<T>>;
  /** The last ones, for as long as the registry does not answer. */
  readonly #last: Cache<Writer<T>>;
  readonly #compiled: Cache<SchemaWriter<T>>;

  constructor({ registry, format, subject = "topic", register = "auto" }: WritersOptions<T>) {
    this.#registry = registry;
    this.#format = format;
    this.#naming = subject;
    this.#mode = register;
    this.#known = registry.newCache(register === "latest" ? "latest" : "immutable");
    this.#last = registry.newCache("immutable");
    this.#compiled = registry.newCache("immutable");
  }

  known(topic: string): Writer<T> | undefined {
    return this.#known.get(topic);
  }

  /** @throws SluiceError of the registry's */
  writer(topic: string): Promise<Writer<T>> {
    return this.#flights.run(topic, async () => {
      const writer = await this.#find(subjectOf(this.#naming, topic, this.#format)).catch((error: unknown) => {
        const last = isSluiceError(error, "UNAVAILABLE") ? this.#last.get(topic) : undefined;
        if (last) return last;
        throw error;
      });
      this.#known.set(topic, writer);
      if (this.#mode === "latest") this.#last.set(topic, writer);
      return writer;
    });
  }

  async #find(subject: string): Promise<Writer<T>> {
    if (this.#mode === "latest") return this.#latest(await this.#registry.latest(subject));
    const find: Place = (name, definition) => this.#registry.find(name, definition);
    const register: Place = (name, definition) => this.#registry.register(name, definition);
    const place = this.#mode === "auto" ? register : find;
    const { id, guid } = await place(subject, await definitionOf(this.#format, place, find));
    return this.#own(id, guid);
  }

  #own(id: number, guid: string | undefined): Writer<T> {
    const format = this.#format;
    const write = (payload: T, message: WireMessage) => format.write(payload, message);
    return { id, guid, messageIndexes: indexesOf(format), write };
  }

  async #latest(version: SubjectVersion): Promise<Writer<T>> {
    const format = this.#format;
    const { id, guid, schemaType, subject } = version;
    if (schemaType !== format.schemaType) {
      throw mismatch(subject, `is ${schemaType}, and the topic's schema is ${format.schemaType}`);
    }
    if (format.writer) {
      const compiled = this.#compiled.get(String(id)) ?? (await this.#compile(version));
      const write = (payload: T, message: WireMessage) => compiled.write(payload, message);
      return { id, guid, messageIndexes: indexesOf({ ...format, ...compiled }), write };
    }
    // Bytes of JSON are the same whatever the schema says.
    if (schemaType !== "JSON") await this.#mustEqual(version);
    return this.#own(id, guid);
  }

  async #compile(version: SubjectVersion): Promise<SchemaWriter<T>> {
    const schema = await this.#registry.withReferences(version);
    const compiled = this.#format.writer?.(schema);
    if (!compiled) throw new Error("unreachable: asked for only where there is one");
    this.#compiled.set(String(version.id), compiled);
    return compiled;
  }

  async #mustEqual({ id, subject }: SubjectVersion): Promise<void> {
    const find: Place = (name, definition) => this.#registry.find(name, definition);
    try {
      const own = await find(subject, await definitionOf(this.#format, find, find));
      if (own.id === id) return;
    } catch (error) {
      if (!isSluiceError(error, "NOT_FOUND")) throw error;
    }
    throw mismatch(subject, "is not the topic's schema, which cannot be written as another version");
  }
}

function indexesOf({
  messageIndexes,
  schemaType,
}: Pick<SchemaFormat, "messageIndexes" | "schemaType">): readonly number[] | undefined {
  return schemaType === "PROTOBUF" ? (messageIndexes ?? [0]) : undefined;
}

function mismatch(subject: string, detail: string): SluiceError {
  const text = `registry: the latest version of subject "${subject}" ${detail}; update the topic's schema, or use register: "auto"`;
  return new SluiceError("MISMATCH", text);
}
