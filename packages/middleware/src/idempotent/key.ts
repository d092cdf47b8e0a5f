import { createHash } from "node:crypto";
import type { Context } from "@sluice/core";

/** Longer keys are hashed: PostgreSQL's index takes 2,700 bytes. */
const longest = 512;

/** What one handling of a message is called: two groups both handle it. Legal names have no `/`, so no two of them meet. */
export function defaultKey({ group, message }: Context): string {
  return `${group}/${message.topic}/${message.id}`;
}

/**
 * A key that every store takes as it is. Ids come from whoever publishes: what is too long, has control characters (PostgreSQL
 * takes no NUL) or broken surrogates (which become one and the same character) is replaced by its hash.
 */
export function storedKey(key: string): string {
  // oxlint-disable-next-line no-control-regex -- they are what is looked for
  if (key.length <= longest && key.isWellFormed() && !/[\u0000-\u001F\u007F]/.test(key)) return key;
  return `sha256:${createHash("sha256").update(Buffer.from(key, "utf16le")).digest("hex")}`;
}
