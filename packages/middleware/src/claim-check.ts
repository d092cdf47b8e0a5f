import { webcrypto } from "node:crypto";
import { type Duration, milliseconds, nodeRuntime, SluiceError, UnavailableError } from "@sluice/core";
import type { Bytes, Runtime, WireMessage, WireMiddleware } from "@sluice/core";
import { Limiter } from "./claims/limiter.ts";
import { type ClaimStore, isClaimName, isClaimPrefix, newClaimName, storeHelp } from "./claims/store.ts";
import { checkMethods, shown } from "./options.ts";

/** Options of {@link claimCheck}. */
export interface ClaimCheckOptions {
  /** Bodies of more bytes are stored. @default 256 KiB */
  readonly threshold?: number;
  /** How long an object is wanted: longer than any message waits, is tried again, or lies with the dead letters. @default '14d' */
  readonly expiry?: Duration;
  /** Before the names of new objects, such as `orders/`. @default none */
  readonly prefix?: string;
  /** Largest body, written and read. @default 64 MiB */
  readonly maxBytes?: number;
  /** Transfers at a time. @default 8 */
  readonly concurrency?: number;
  /** Bytes of these transfers together. @default 256 MiB */
  readonly memory?: number;
  /** After which a transfer that does not end counts as a store that is down. @default '30s' */
  readonly timeout?: Duration;
  /** Clock, timers and ids: UUIDs, by which the sweep knows what it may delete. @default the process's own */
  readonly runtime?: Runtime;
}

/** What the message carries instead of its body: JSON. */
interface Claim {
  /** Where the body is. The extension of CloudEvents has the same name and meaning. */
  readonly dataref: string;
  /** Of the stored bytes, in hexadecimal. */
  readonly sha256: string;
  readonly size: number;
  /** The body's content type. */
  readonly datacontenttype?: string;
  /** RFC 3339: when the object may be gone. */
  readonly expires: string;
}

/** Content type of messages whose body is elsewhere: no codec takes the reference for the payload. */
const claimType = "application/vnd.sluice.claim+json";
const refHeader = "dataref";
/** The header, and the extension of a CloudEvent in binary mode. */
const reference = /^(?:(?:ce|cloudevents)[_:-])?dataref$/i;
const largestClaim = 4096;

/**
 * Stores large bodies elsewhere and sends a reference with hash and size. They are stored before the message is published, checked
 * when it is read, and never deleted by a reader: other groups, retries and dead letters need them. {@link sweepClaims} deletes
 * what has expired, and what was stored for a publish that failed.
 *
 * Comes last in `wire`, so that the threshold counts what would be sent, and the store sees what the broker would see.
 *
 * An object that is missing, changed or too large, or a reference that leads out of the store: dead letter (`invalid`), naming the
 * object. A store that is down or does not answer: publishing rejects with `UNAVAILABLE`, and messages wait without counting attempts.
 *
 * @throws SluiceError `CONFIG`; publishing rejects with `TOO_LARGE` above `maxBytes`
 */
export function claimCheck(store: ClaimStore, options: ClaimCheckOptions = {}): WireMiddleware {
  checkMethods("claimCheck: the store", store, ["put", "get"], storeHelp);
  if (typeof store.base !== "string" || store.base === "")
    throw new SluiceError(
      "CONFIG",
      `claimCheck: the base of the store is ${shown(store.base)}; give it one that is its own`,
    );
  const settings = settingsOf(options);
  const { threshold, maxBytes, expiryMs, prefix, runtime } = settings;
  const transfer = transfers(settings);
  return {
    name: "claimCheck",
    outgoing(message) {
      const { body } = message;
      dropStale(message, store.base);
      if (body === null || body.byteLength <= threshold) return undefined;
      if (body.byteLength > maxBytes) {
        const text = `claimCheck: message ${message.id} to "${message.topic}" has ${body.byteLength} bytes, above the limit of ${maxBytes}; raise maxBytes`;
        throw new SluiceError("TOO_LARGE", text);
      }
      const expiresAt = runtime.wallMs() + expiryMs;
      const name = newClaimName(prefix, expiresAt, runtime.id());
      const dataref = store.base + name;
      const stored = transfer(`store ${dataref}`, body.byteLength, async (signal) => {
        const sha256 = await digest(body);
        await store.put(name, body, signal);
        return { dataref, sha256, size: body.byteLength, expires: new Date(expiresAt).toISOString() };
      });
      return stored.then((claim) => refer(message, claim));
    },
    async incoming(message) {
      if (!isClaim(message)) return;
      const claim = claimOf(message, maxBytes);
      const name = claim.dataref.slice(store.base.length);
      if (!claim.dataref.startsWith(store.base) || !isClaimName(name)) {
        throw refused(
          message,
          `refers to ${JSON.stringify(claim.dataref)}, which is not in ${store.base}; give the store it was put into`,
        );
      }
      const body = await transfer(`read ${claim.dataref}`, claim.size, async (signal) =>
        verified(message, claim, await store.get(name, claim.size, signal)),
      );
      redeem(message, claim, body);
    },
  };
}

/** Whether a message carries a reference instead of its body. */
export function isClaim({ headers }: WireMessage): boolean {
  return mediaType(headers["content-type"]) === claimType;
}

type Settings = ReturnType<typeof settingsOf>;

function settingsOf(options: ClaimCheckOptions) {
  const { threshold = 256 * 1024, maxBytes = 64 * 1024 * 1024, concurrency = 8, memory = 256 * 1024 * 1024 } = options;
  const { prefix = "", expiry = "14d", timeout = "30s", runtime = nodeRuntime } = options;
  for (const [name, value] of Object.entries({ threshold, maxBytes, concurrency, memory })) {
    if (!Number.isInteger(value) || value < 1)
      throw new SluiceError("CONFIG", `claimCheck: ${name} is ${value}; give a whole number of at least 1`);
  }
  if (!isClaimPrefix(prefix)) {
    throw new SluiceError(
      "CONFIG",
      `claimCheck: the prefix is ${JSON.stringify(prefix)}; give letters, digits and "/", ending with "/"`,
    );
  }
  const expiryMs = milliseconds(expiry, "expiry of claimCheck");
  const timeoutMs = milliseconds(timeout, "timeout of claimCheck");
  return { threshold, maxBytes, concurrency, memory, prefix, expiryMs, timeoutMs, runtime };
}

/** Runs one transfer within the limits. Whatever the store throws means that it is down. */
function transfers({ concurrency, memory, timeoutMs, runtime }: Settings) {
  const limiter = new Limiter(concurrency, memory);
  return <T>(what: string, bytes: number, work: (signal: AbortSignal) => Promise<T>): Promise<T> =>
    limiter.run(bytes, async () => {
      const controller = new AbortController();
      const ended = Promise.withResolvers<never>();
      const cancel = runtime.timer(timeoutMs, () => {
        const error = new Error(`it did not answer within ${timeoutMs} ms`);
        controller.abort(error);
        ended.reject(error);
      });
      try {
        return await Promise.race([work(controller.signal), ended.promise]);
      } catch (cause) {
        if (cause instanceof SluiceError) throw cause;
        throw new UnavailableError(
          `claimCheck: cannot ${what} now: ${cause instanceof Error ? cause.message : String(cause)}`,
          { cause },
        );
      } finally {
        cancel();
      }
    });
}

/** The reference of a message that is forwarded: this one has a body of its own. n.b. Those that lead elsewhere are the publisher's. */
function dropStale({ headers }: WireMessage, base: string): void {
  for (const name of Object.keys(headers)) {
    if (reference.test(name) && headers[name]?.startsWith(base)) delete headers[name];
  }
}

function refer(message: WireMessage, claim: Claim): void {
  const { headers } = message;
  const type = headers["content-type"];
  message.body = Buffer.from(JSON.stringify(type === undefined ? claim : { ...claim, datacontenttype: type }));
  headers["content-type"] = claimType;
  headers[refHeader] = claim.dataref;
  // A CloudEvent in binary mode says it as its extension.
  const version = Object.keys(headers).find((name) => /^(?:ce[_-]|cloudevents[_:])specversion$/i.test(name));
  if (version !== undefined) headers[version.slice(0, -"specversion".length) + refHeader] = claim.dataref;
}

function redeem(message: WireMessage, { datacontenttype }: Claim, body: Bytes): void {
  const { headers } = message;
  message.body = body;
  delete headers[refHeader];
  if (datacontenttype === undefined) delete headers["content-type"];
  else headers["content-type"] = datacontenttype;
}

async function verified(message: WireMessage, claim: Claim, body: Bytes | undefined): Promise<Bytes> {
  const { dataref, sha256, size, expires } = claim;
  if (!body)
    throw refused(
      message,
      `refers to ${dataref}, which is not there (it was wanted until ${expires}); bring it back and redrive`,
    );
  if (body.byteLength === size && (await digest(body)) === sha256) return body;
  throw refused(message, `refers to ${dataref}, which is not what was stored; bring it back and redrive`);
}

/** On another thread: large bodies would hold up everything else. */
async function digest(body: Bytes): Promise<string> {
  // n.b. A body over shared memory is none that a driver or codec makes.
  return Buffer.from(await webcrypto.subtle.digest("SHA-256", body as Uint8Array<ArrayBuffer>)).toString("hex");
}

function claimOf(message: WireMessage, maxBytes: number): Claim {
  const claim = parsed(message.body);
  if (!claim) throw refused(message, "has a reference that cannot be read");
  if (claim.size <= maxBytes) return claim;
  throw refused(
    message,
    `refers to ${claim.dataref} of ${claim.size} bytes, above the limit of ${maxBytes}; raise maxBytes`,
  );
}

/** Whoever can publish can write anything there. */
function parsed(body: Bytes | null): Claim | undefined {
  if (body === null || body.byteLength > largestClaim) return undefined;
  try {
    const claim = JSON.parse(Buffer.from(body).toString()) as Partial<Record<keyof Claim, unknown>> | null;
    const { dataref, sha256, size, datacontenttype, expires } = claim ?? {};
    if (typeof dataref !== "string" || typeof sha256 !== "string" || !Number.isSafeInteger(size)) return undefined;
    if (typeof size !== "number" || size < 0 || !/^[0-9a-f]{64}$/.test(sha256)) return undefined;
    const type = typeof datacontenttype === "string" ? { datacontenttype } : {};
    return { dataref, sha256, size, expires: typeof expires === "string" ? expires : "unknown", ...type };
  } catch {
    return undefined;
  }
}

function mediaType(type: string | undefined): string | undefined {
  return type?.split(";", 1)[0]?.trim().toLowerCase();
}

function refused({ id, topic }: WireMessage, what: string): SluiceError {
  return new SluiceError("INVALID_PAYLOAD", `claimCheck: message ${id} of topic "${topic}" ${what}`);
}
