import { isSluiceError, SluiceError } from "@sluice/core";
import { reasonOf, whatOf } from "../errors.ts";
import { scanJson } from "../json-scan.ts";
import { type PayloadLimits, payloadLimits } from "../limits.ts";
import { type Cache, Flights } from "./cache.ts";
import type { Registry } from "./client.ts";
import type { SchemaFormat, SchemaReader, WriterSchema } from "./format.ts";
import type { SchemaId } from "./wire-format.ts";

/** Of a schema with all that it refers to: what takes longer than 50 ms to compile is an attack, or deserves an option. */
const defaults: PayloadLimits = { bytes: 512 * 1024, depth: 200, elements: 10_000 };

interface ReadersOptions<T> {
  readonly registry: Registry;
  readonly format: SchemaFormat<T>;
  readonly schemaLimits?: Partial<PayloadLimits>;
}

/** How to read what was written with a schema of the registry, made once for each. */
export class Readers<T> {
  readonly #registry: Registry;
  readonly #format: SchemaFormat<T>;
  readonly #limits: PayloadLimits;
  readonly #flights = new Flights();
  readonly #readers: Cache<SchemaReader<T>>;

  constructor({ registry, format, schemaLimits }: ReadersOptions<T>) {
    this.#limits = payloadLimits({ ...defaults, ...schemaLimits });
    this.#registry = registry;
    this.#format = format;
    this.#readers = registry.newCache("immutable");
  }

  known(which: SchemaId): SchemaReader<T> | undefined {
    return this.#readers.get(keyOf(which));
  }

  /** @throws SluiceError `NOT_FOUND`, `INVALID_PAYLOAD`, or another one of the registry's */
  reader(which: SchemaId): Promise<SchemaReader<T>> {
    return this.#flights.run(keyOf(which), async () => {
      const writer = await this.#registry.ofMessage(which);
      const reader = this.#compiled(writer);
      this.#readers.set(keyOf(which), reader);
      return reader;
    });
  }

  /** n.b. a schema that cannot be read stays so: it becomes a reader that refuses, and is not compiled for each message. */
  #compiled(writer: WriterSchema): SchemaReader<T> {
    try {
      const { schemaType } = this.#format;
      if (writer.schemaType !== schemaType) {
        throw new Error(`it was written as ${writer.schemaType}, and the topic is read as ${schemaType}`);
      }
      const all = Buffer.from(`[${[writer, ...writer.references].map((one) => one.schema).join(",")}]`);
      if (all.byteLength > this.#limits.bytes) {
        throw new Error(
          `it has ${all.byteLength} bytes, above the limit of ${this.#limits.bytes}; see option "schemaLimits"`,
        );
      }
      if (schemaType !== "PROTOBUF") scanJson(all, this.#limits);
      return this.#format.reader(writer);
    } catch (cause) {
      const issues = isSluiceError(cause) ? cause.issues : [];
      return (_body, message) => {
        const text = `${whatOf("registry", message)} has a schema that cannot be read as the topic's: ${reasonOf(cause)}`;
        throw new SluiceError("INVALID_PAYLOAD", text, { issues, cause });
      };
    }
  }
}

function keyOf({ id, guid }: SchemaId): string {
  return guid ?? String(id);
}
