import { readdirSync, readFileSync, statSync } from "node:fs";
import { join, posix, relative, resolve, sep } from "node:path";
import { looksLikeSchema, typeOf, UsageError } from "./contract.ts";

/** Folders that hold other people's files, or made ones. */
const skipped: ReadonlySet<string> = new Set(["node_modules", "dist"]);

/** The schema files under some paths, from the working directory, sorted. A path that is not there has none. */
export function findFiles(paths: readonly string[], directory: string): readonly string[] {
  const found = new Set<string>();
  for (const path of paths) {
    const stats = statSync(resolve(directory, path), { throwIfNoEntry: false });
    if (stats === undefined) continue;
    if (stats.isDirectory()) walk(directory, path, found);
    else if (typeOf(path) === undefined)
      throw new UsageError(`"${path}" is no schema; name a .avsc, .json or .proto file`);
    else found.add(plain(directory, path));
  }
  return [...found].toSorted();
}

function walk(directory: string, folder: string, found: Set<string>): void {
  for (const entry of readdirSync(resolve(directory, folder), { withFileTypes: true })) {
    if (entry.name.startsWith(".") || skipped.has(entry.name)) continue;
    const path = join(folder, entry.name);
    if (entry.isDirectory()) walk(directory, path, found);
    else if (entry.isFile() && typeOf(path) !== undefined) {
      if (looksLikeSchema(path, readFileSync(resolve(directory, path), "utf8"))) found.add(plain(directory, path));
    }
  }
}

/** A path from the working directory, with `/`, whatever way it was written. */
export function plain(directory: string, path: string): string {
  return relative(directory, resolve(directory, path)).split(sep).join("/") || ".";
}

/** Whether a path is one of these, or stands in one of these folders. Both plain. */
export function isUnder(path: string, folders: readonly string[]): boolean {
  return folders.some((folder) => folder === "." || path === folder || path.startsWith(`${folder}/`));
}

/** Whether a walk through the folders would have come to this path. */
export function isWalked(path: string): boolean {
  return posix
    .dirname(path)
    .split("/")
    .every((part) => part === "." || part === ".." || (!part.startsWith(".") && !skipped.has(part)));
}
