import { readFileSync, statSync } from "node:fs";
import { resolve } from "node:path";
import { UsageError, type Version } from "./contract.ts";
import { findFiles } from "./files.ts";
import { GitSource } from "./git.ts";

/** Where old versions come from. */
export interface Source {
  /** Every file that there is, or every schema; from the working directory. */
  paths(): Promise<readonly string[]>;
  /** Oldest first; empty where there is none. */
  versions(path: string, all: boolean): Promise<readonly Version[]>;
}

/** A path that exists is a file or folder; anything else must be a commit of the git repository. Throws `UsageError`. */
export async function openSource(against: string, directory: string): Promise<Source> {
  const stats = statSync(resolve(directory, against), { throwIfNoEntry: false });
  if (stats?.isDirectory()) return folderSource(against, directory);
  if (stats !== undefined) return fileSource(against, directory);
  const source = await GitSource.open(against, directory);
  if (source === undefined) {
    throw new UsageError(`--against "${against}" is no file, no folder and no commit of a git repository here`);
  }
  return source;
}

function folderSource(folder: string, directory: string): Source {
  const root = resolve(directory, folder);
  return {
    async paths() {
      return findFiles(["."], root);
    },
    async versions(path) {
      const found = read(resolve(root, path));
      return found === undefined ? [] : [{ label: `${folder.replace(/\/$/, "")}/${path}`, text: found }];
    },
  };
}

/** One file stands for the one contract that is checked. */
function fileSource(file: string, directory: string): Source {
  return {
    async paths() {
      return [];
    },
    async versions() {
      const found = read(resolve(directory, file));
      return found === undefined ? [] : [{ label: file, text: found }];
    },
  };
}

function read(path: string): string | undefined {
  return statSync(path, { throwIfNoEntry: false })?.isFile() ? readFileSync(path, "utf8") : undefined;
}
