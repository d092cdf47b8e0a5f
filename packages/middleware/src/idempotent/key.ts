import { createHash } from "node:crypto";
import { type Context, SluiceError } from "@sluice/core";
import { shown } from "../options.ts";

/** Longer keys are hashed: PostgreSQL's index takes 2,700 bytes. */
const longest = 512;

/** What makes two deliveries the same, unless the user says otherwise. */
export function defaultKey({ message }: Context): string {
  return `${message.topic}/${message.id}`;
}

/**
 * What one handling of a message is called. Two groups both handle it, whatever `keyOf` says: legal names have no `/`, so no two of
 * them meet.
 *
 * @param who the option's owner
 * @throws SluiceError `CONFIG` for what is no key: as one it would make duplicates of all messages that have none. It fails the run
 */
export function keyOfHandling(who: string, keyOf: (context: Context) => string, context: Context): string {
  const key: unknown = keyOf(context);
  const { group, message } = context;
  if (typeof key === "string" && key !== "") return storedKey(`${group}/${key}`);
  throw new SluiceError(
    "CONFIG",
    `${who}: option key gave ${key === "" ? "an empty text" : `a value that is ${shown(key)}`} for message ${message.id} of topic "${message.topic}"; ` +
      `give a text of at least one character for every message: message.id where there is nothing better`,
  );
}

/**
 * A key that every store takes as it is. Ids come from whoever publishes: what is too long, has control characters (PostgreSQL
 * takes no NUL) or broken surrogates (which become one and the same character) is replaced by its hash.
 */
function storedKey(key: string): string {
  // oxlint-disable-next-line no-control-regex -- they are what is looked for
  if (key.length <= longest && key.isWellFormed() && !/[\u0000-\u001F\u007F]/.test(key)) return key;
  return `sha256:${createHash("sha256").update(Buffer.from(key, "utf16le")).digest("hex")}`;
}
