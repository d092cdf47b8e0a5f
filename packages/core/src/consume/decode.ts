import { type Delivery, wire } from "../driver/index.ts";
import { isSluiceError, SluiceError } from "../errors.ts";
import { validate } from "../schema.ts";
import type { AnyTopic } from "../topic.ts";
import { describe } from "./fate.ts";

/**
 * Bytes → codec → schema. Synchronous when the schema is. A tombstone (null body) skips the codec.
 * @throws SluiceError `INVALID_PAYLOAD`: dead-lettered at once with the original bytes
 */
export function decode(topic: AnyTopic, delivery: Delivery): unknown {
  const what = `message ${delivery.id ?? "(without id)"} of topic "${topic.name}"`;
  const payload = delivery.body === null ? null : decodeBody(topic, delivery, delivery.body, what);
  if (!topic.schema) return payload;
  try {
    const checked = validate(topic.schema, payload, what);
    return checked instanceof Promise ? checked.catch((error: unknown) => rethrow(error, what)) : checked;
  } catch (error) {
    return rethrow(error, what);
  }
}

function decodeBody(topic: AnyTopic, delivery: Delivery, body: Uint8Array, what: string): unknown {
  const given = delivery.headers[wire.contentType];
  const wanted = topic.codec.contentType;
  if (given !== undefined && given !== wanted && mediaType(given) !== mediaType(wanted)) {
    throw new SluiceError(
      "INVALID_PAYLOAD",
      `${what} has content type "${given}"; the topic's codec reads "${wanted}"`,
    );
  }
  try {
    return topic.codec.decode(body);
  } catch (cause) {
    throw new SluiceError("INVALID_PAYLOAD", `${what} cannot be decoded as ${wanted}: ${describe(cause)}`, { cause });
  }
}

/** A schema that throws is as final as one that refuses: the same bytes will throw again. */
function rethrow(error: unknown, what: string): never {
  if (isSluiceError(error)) throw error;
  throw new SluiceError("INVALID_PAYLOAD", `${what}: its schema threw: ${describe(error)}`, { cause: error });
}

function mediaType(contentType: string): string {
  const end = contentType.indexOf(";");
  return (end < 0 ? contentType : contentType.slice(0, end)).trim().toLowerCase();
}
