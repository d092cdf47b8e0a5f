import { constants } from "node:fs";
import { access, mkdir, open, readdir, rename, rm, rmdir, stat } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { nodeRuntime, SluiceError } from "@sluice/core";
import type { Bytes } from "@sluice/core";
import { type ClaimStore, isClaimName, type StoredClaim } from "./store.ts";

/** Says that the folder is the store, and not what is left of it when its file system is not mounted. */
const marker = ".sluice-claims";

/**
 * Bodies as files of one folder, which every producer and consumer must see: a shared file system, or one machine. Files appear
 * whole, and only their owner may read them.
 *
 * A folder that is not there, or that nobody ever stored anything in, is a store that is down.
 * @throws SluiceError `CONFIG` without a folder
 */
export function fileClaims(folder: string): ClaimStore {
  if (typeof folder !== "string" || folder === "") {
    throw new SluiceError("CONFIG", `fileClaims: the folder is ${JSON.stringify(folder)}; give its path`);
  }
  const root = resolve(folder);
  const marked = join(root, marker);
  let ready: Promise<void> | undefined;
  const prepare = () =>
    (ready ??= prepareFolder(root, marked).catch((error: unknown) => {
      ready = undefined;
      throw error;
    }));
  return {
    base: "claim:",
    async put(name, body, signal) {
      await prepare();
      await write(pathOf(root, name), body, signal);
    },
    async get(name, maxBytes) {
      const body = await read(pathOf(root, name), maxBytes);
      if (!body) await access(marked);
      return body;
    },
    async delete(name) {
      const path = pathOf(root, name);
      await rm(path, { force: true });
      // The folder of a day, once it is empty.
      if (dirname(path) !== root) await rmdir(dirname(path)).catch(() => undefined);
    },
    list: () => list(root, ""),
  };
}

async function prepareFolder(root: string, marked: string): Promise<void> {
  await mkdir(root, { recursive: true, mode: 0o700 });
  await (await open(marked, "a", 0o600)).close();
}

/** n.b. The check is here as well, so that no caller can forget it. */
function pathOf(root: string, name: string): string {
  if (!isClaimName(name))
    throw new SluiceError("INVALID_PAYLOAD", `fileClaims: no object is called ${JSON.stringify(name.slice(0, 80))}`);
  return join(root, ...name.split("/"));
}

/** Under another name first: a reader, or a crash, never finds a part. */
async function write(path: string, body: Bytes, signal: AbortSignal): Promise<void> {
  const folder = dirname(path);
  const partial = join(folder, `.${nodeRuntime.id()}.part`);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  try {
    const file = await open(partial, "wx", 0o600);
    try {
      await file.writeFile(body, { signal });
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(partial, path);
  } catch (error) {
    await rm(partial, { force: true });
    throw error;
  }
  await syncFolder(folder);
}

/** The name is durable only with its folder. n.b. Windows has no such thing. */
async function syncFolder(folder: string): Promise<void> {
  if (process.platform === "win32") return;
  const handle = await open(folder, constants.O_RDONLY);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** A link is no object: it could lead anywhere. A pipe would be waited for until somebody writes. */
const readFlags = constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0);

async function read(path: string, maxBytes: number): Promise<Bytes | undefined> {
  const file = await open(path, readFlags).catch(absent);
  if (!file) return undefined;
  try {
    const found = await file.stat();
    // n.b. A folder can be opened, and not read.
    if (!found.isFile()) return undefined;
    const { size } = found;
    const body = Buffer.allocUnsafeSlow(Math.min(size, maxBytes + 1));
    let at = 0;
    while (at < body.length) {
      const { bytesRead } = await file.read(body, at, body.length - at, at);
      if (bytesRead === 0) break;
      at += bytesRead;
    }
    return body.subarray(0, at);
  } finally {
    await file.close();
  }
}

/** What the file system says of a name under which no file can be. n.b. Anything else is an outage, and stops a group. */
const absences: ReadonlySet<unknown> = new Set(["ENOENT", "ENOTDIR", "ELOOP", "EISDIR", "ENAMETOOLONG", "ENXIO"]);

function absent(error: unknown): undefined {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  if (absences.has(code)) return undefined;
  throw error;
}

async function* list(root: string, within: string): AsyncGenerator<StoredClaim> {
  for (const entry of await readdir(join(root, within), { withFileTypes: true })) {
    const name = within + entry.name;
    if (entry.isDirectory()) yield* list(root, `${name}/`);
    if (!entry.isFile() || name === marker || !isClaimName(name)) continue;
    // Another sweep may have been faster.
    const found = await stat(join(root, name)).catch(absent);
    if (found) yield { name, storedAt: found.mtimeMs, bytes: found.size };
  }
}
