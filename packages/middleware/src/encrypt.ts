import { createCipheriv, createDecipheriv, createSecretKey, type KeyObject, webcrypto } from "node:crypto";
import { type Duration, isSluiceError, milliseconds, nodeRuntime, SluiceError, UnavailableError } from "@sluice/core";
import type { AnyTopic, Bytes, Runtime, WireMessage, WireMiddleware } from "@sluice/core";
import { isClaim } from "./claim-check.ts";
import { checkChoice, checkMethods, checkObject, shown } from "./options.ts";

/** Where keys come from. */
export interface EncryptionKeys {
  /** The id of the key that new messages get. Read for each of them: rotate by changing it. */
  readonly current: string;
  /**
   * The key of an id: 32 bytes, also of ids that were current once. `undefined`, and whatever is no `Uint8Array`: there is no such key.
   * A rejection means that the keys cannot be asked now. Asked once at a time per id; ids come from the wire.
   */
  get(id: string): Bytes | undefined | Promise<Bytes | undefined>;
}

/** Options of {@link encrypt}. */
export interface EncryptOptions {
  readonly keys: EncryptionKeys;
  /** The topics whose messages are secret. @default all */
  readonly topics?: readonly AnyTopic[];
  /** Messages that are not encrypted: `accept` while producers are being changed. @default 'refuse' */
  readonly plaintext?: "refuse" | "accept";
  /** How long a key that was got is good; `0` = asked for each message. @default '5m' */
  readonly keepKeys?: Duration;
  /** The clock, for `keepKeys`. @default the process's own */
  readonly runtime?: Runtime;
}

const algorithm = "aes-256-gcm";
const algorithmHeader = "encryption";
const keyHeader = "encryption-key";
const nonceBytes = 12;
const tagBytes = 16;
/** Ids come from the wire: somebody could make them up. */
const mostKeys = 100;
/** What a header carries, and a message names. */
const keyId = /^[\x21-\x7e]{1,128}$/;

/**
 * AES-256-GCM around the body: nonce of 12 random bytes, ciphertext, tag of 16 bytes. The headers `encryption` and `encryption-key`
 * name the algorithm and the key. Topic and message id are authenticated: nobody can pass a body off as another message's. They
 * stay through retry, dead letter and redrive; a program that copies records to a topic of another name makes them unreadable.
 * Headers and key are not secret.
 *
 * Comes after `compress` in `wire`, and before `claimCheck`, so that stored bodies are encrypted; in the other order a publish that
 * `claimCheck` stored rejects with `CONFIG`. Nothing (a tombstone) stays nothing. Both headers are its own: what a publisher set under
 * their names, such as those of a message that it forwards, goes.
 *
 * A wrong key, an unknown one or a body that somebody changed: dead letter (`invalid`) with the encrypted bytes. When the keys
 * cannot be asked, publishing rejects with `UNAVAILABLE`, and messages wait without counting attempts.
 *
 * n.b. Random nonces are good for 2^32 messages of a key: rotate before.
 *
 * @throws SluiceError `CONFIG`
 */
export function encrypt(options: EncryptOptions): WireMiddleware {
  checkOptions(options);
  const { plaintext = "refuse", topics } = options;
  const names = topics && new Set(topics.map(({ name }) => name));
  const isSecret = ({ topic }: WireMessage) => names?.has(topic) ?? true;
  const keyring = new Keyring(options);
  return {
    name: "encrypt",
    outgoing(message) {
      delete message.headers[algorithmHeader];
      delete message.headers[keyHeader];
      if (!isSecret(message) || message.body === null) return undefined;
      if (isClaim(message)) throw tooLate(message);
      const id = options.keys.current;
      if (!keyId.test(id)) {
        throw new SluiceError(
          "CONFIG",
          `encrypt: the key id ${JSON.stringify(id)} is no header value; use up to 128 printable ASCII characters`,
        );
      }
      return withKey(keyring.get(id), (key) => seal(message, id, key));
    },
    incoming(message) {
      const { headers, body } = message;
      const given = headers[algorithmHeader];
      if (given === undefined) {
        if (body === null || plaintext === "accept" || !isSecret(message)) return undefined;
        throw refused(message, "is not encrypted; encrypt it, or accept plaintext");
      }
      const id = headers[keyHeader];
      if (given !== algorithm || id === undefined || !keyId.test(id) || body === null) {
        throw refused(message, `is encrypted with "${given}"; only ${algorithm} with a key id and a body can be read`);
      }
      return withKey(keyring.get(id), (key) => open(message, body, id, key));
    },
  };
}

function checkOptions(options: EncryptOptions): void {
  checkObject("encrypt: its argument", options, "give { keys: { current, get } }");
  const { keys, plaintext, topics } = options;
  checkMethods(
    "encrypt: keys",
    keys,
    ["get"],
    "give { current, get }: the id of the current key, and the key of an id",
  );
  if (typeof keys.current !== "string")
    throw new SluiceError("CONFIG", `encrypt: keys.current is ${shown(keys.current)}; give the id of the current key`);
  checkChoice("encrypt: plaintext", plaintext, ["refuse", "accept"]);
  if (topics === undefined) return;
  // n.b. What has no name would be no topic, and no message of it would be encrypted.
  const wrong: unknown = Array.isArray(topics) ? topics.findIndex((each) => typeof each?.name !== "string") : topics;
  if (wrong !== -1)
    throw new SluiceError("CONFIG", `encrypt: topics is no list of topics; give what topic("…") made, not names`);
}

function tooLate({ id, topic }: WireMessage): SluiceError {
  return new SluiceError(
    "CONFIG",
    `encrypt: the body of message ${id} to topic "${topic}" was stored by claimCheck before it could be encrypted, and lies there as it was; ` +
      `put encrypt before claimCheck: wire: [cloudEvents(…), compress(…), encrypt(…), claimCheck(…)]`,
  );
}

function withKey(key: Found | Promise<Found>, use: (key: Found) => void): void | Promise<void> {
  return key instanceof Promise ? key.then(use) : use(key);
}

function seal(message: WireMessage, id: string, key: Found): void {
  const { body, headers } = message;
  if (!key)
    throw new SluiceError(
      "CONFIG",
      `encrypt: there is no key "${id}", which is the current one; give its 32 bytes before it becomes current`,
    );
  // n.b. Not of the Runtime: a simulated one would repeat it, and with it the key is worth nothing.
  const nonce = webcrypto.getRandomValues(new Uint8Array(nonceBytes));
  const cipher = createCipheriv(algorithm, key, nonce).setAAD(additional(message));
  const sealed = cipher.update(body ?? new Uint8Array());
  cipher.final();
  message.body = Buffer.concat([nonce, sealed, cipher.getAuthTag()]);
  headers[algorithmHeader] = algorithm;
  headers[keyHeader] = id;
}

function open(message: WireMessage, body: Bytes, id: string, key: Found): void {
  if (!key) throw refused(message, `is encrypted with key "${id}", which does not exist; bring it back and redrive`);
  const end = body.byteLength - tagBytes;
  if (end < nonceBytes) throw refused(message, `is cut off: it has ${body.byteLength} bytes`);
  const decipher = createDecipheriv(algorithm, key, body.subarray(0, nonceBytes), { authTagLength: tagBytes })
    .setAAD(additional(message))
    .setAuthTag(body.subarray(end));
  try {
    const plain = decipher.update(body.subarray(nonceBytes, end));
    decipher.final();
    message.body = plain;
  } catch (cause) {
    throw refused(
      message,
      `was changed, or key "${id}" is not the one it was encrypted with, or it was published to another topic or with another id`,
      cause,
    );
  }
  delete message.headers[algorithmHeader];
  delete message.headers[keyHeader];
}

/** n.b. As JSON, so that no topic and id read like another topic and id. */
function additional({ topic, id }: WireMessage): Bytes {
  return Buffer.from(JSON.stringify([topic, id]));
}

/** `undefined`: there is no such key. */
type Found = KeyObject | undefined;

/** Keys that were got, for a while, and the ones that are being got. */
class Keyring {
  readonly #keys: EncryptionKeys;
  readonly #runtime: Runtime;
  readonly #keepMs: number;
  readonly #known = new Map<string, { readonly key: Promise<Found> | KeyObject; readonly untilMs: number }>();

  constructor({ keys, keepKeys = "5m", runtime = nodeRuntime }: EncryptOptions) {
    this.#keys = keys;
    this.#runtime = runtime;
    this.#keepMs = milliseconds(keepKeys, "keepKeys of encrypt");
  }

  get(id: string): Found | Promise<Found> {
    const known = this.#known.get(id);
    if (known && (known.key instanceof Promise || known.untilMs > this.#runtime.monotonicMs())) return known.key;
    this.#known.delete(id);
    const asked = this.#ask(id).then(
      (key) => {
        if (key && this.#keepMs > 0) this.#keep(id, key);
        else this.#known.delete(id);
        return key;
      },
      (error: unknown) => {
        this.#known.delete(id);
        throw error;
      },
    );
    this.#known.set(id, { key: asked, untilMs: Infinity });
    return asked;
  }

  #keep(id: string, key: KeyObject): void {
    this.#known.set(id, { key, untilMs: this.#runtime.monotonicMs() + this.#keepMs });
    const oldest = this.#known.size > mostKeys ? this.#known.keys().next().value : undefined;
    if (oldest !== undefined) this.#known.delete(oldest);
  }

  async #ask(id: string): Promise<Found> {
    let bytes: Bytes | undefined;
    try {
      bytes = await this.#keys.get(id);
    } catch (cause) {
      if (isSluiceError(cause)) throw cause;
      throw new UnavailableError(`encrypt: key "${id}" cannot be got now; see the cause`, { cause });
    }
    // n.b. Of a plain object, `table["constructor"]` is a function; whoever publishes can ask for it.
    if (!(bytes instanceof Uint8Array)) return undefined;
    if (bytes.byteLength !== 32) {
      // n.b. Not a matter of the message: it waits until the key is right.
      throw new UnavailableError(`encrypt: key "${id}" is not 32 bytes; give AES-256 keys`);
    }
    return createSecretKey(bytes);
  }
}

function refused({ id, topic }: WireMessage, what: string, cause?: unknown): SluiceError {
  const text = `encrypt: message ${id} of topic "${topic}" ${what}`;
  return new SluiceError("INVALID_PAYLOAD", text, cause === undefined ? {} : { cause });
}
