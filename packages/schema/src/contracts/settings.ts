import { readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { type CompatibilityLevel, compatibilityLevels } from "../compatibility/types.ts";
import { type Contract, typeOf, UsageError } from "./contract.ts";
import { findFiles, isUnder, plain } from "./files.ts";

/** What `contracts.json` says. */
export interface Settings {
  readonly level: CompatibilityLevel | undefined;
  readonly policy: "strict" | "lenient" | undefined;
  /** Files or folders, from the working directory. */
  readonly entries: readonly Entry[];
}

interface Entry {
  readonly path: string;
  readonly level: CompatibilityLevel | undefined;
  readonly policy: "strict" | "lenient" | undefined;
}

const members: ReadonlySet<string> = new Set(["$schema", "level", "policy", "contracts"]);
const entryMembers: ReadonlySet<string> = new Set(["path", "level", "policy"]);

/** Undefined without the file. Throws `UsageError` for one that is not valid. */
export function readSettings(path: string, directory: string): Settings | undefined {
  let text: string;
  try {
    text = readFileSync(resolve(directory, path), "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
  return parseSettings(text, path, directory);
}

export function parseSettings(text: string, path: string, directory: string): Settings {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new UsageError(`${path} is not JSON (${(error as Error).message}); correct it`);
  }
  const { contracts, ...rest } = record(value, path, members);
  if (!Array.isArray(contracts)) throw new UsageError(`${path} has no list "contracts"; list files and folders there`);
  const entries = contracts.map((each: unknown, index) => {
    const place = `${path}: contracts[${index}]`;
    const stated = record(typeof each === "string" ? { path: each } : each, place, entryMembers);
    if (typeof stated["path"] !== "string") throw new UsageError(`${place} has no "path"; name a file or folder`);
    return { path: plain(directory, join(dirname(path), stated["path"])), ...rules(stated, place) };
  });
  return { ...rules(rest, path), entries };
}

function record(value: unknown, place: string, allowed: ReadonlySet<string>): Readonly<Record<string, unknown>> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new UsageError(`${place} must be an object`);
  }
  const unknown = Object.keys(value).find((name) => !allowed.has(name));
  if (unknown !== undefined)
    throw new UsageError(`${place} has the unknown member "${unknown}"; use ${[...allowed].join(", ")}`);
  return value as Readonly<Record<string, unknown>>;
}

function rules(stated: Readonly<Record<string, unknown>>, place: string): Pick<Entry, "level" | "policy"> {
  return { level: levelOf(stated["level"], place), policy: policyOf(stated["policy"], place) };
}

/** Throws `UsageError` for what is no level. */
export function levelOf(value: unknown, place: string): CompatibilityLevel | undefined {
  const level = compatibilityLevels.find((each) => each === value);
  if (value !== undefined && level === undefined) {
    throw new UsageError(`${place}: there is no level ${JSON.stringify(value)}; use ${compatibilityLevels.join(", ")}`);
  }
  return level;
}

/** Throws `UsageError` for what is no policy. */
export function policyOf(value: unknown, place: string): "strict" | "lenient" | undefined {
  if (value === undefined || value === "strict" || value === "lenient") return value;
  throw new UsageError(`${place}: there is no policy ${JSON.stringify(value)}; use strict, lenient`);
}

/** What is checked: what `contracts.json` lists, else all schemas under the paths. A later entry for the same file wins. */
export function contractsOf(
  settings: Settings | undefined,
  paths: readonly string[],
  defaults: Pick<Entry, "level" | "policy">,
  directory: string,
): readonly Contract[] {
  const selected = paths.map((path) => plain(directory, path));
  const entries: readonly Entry[] =
    settings?.entries ??
    (paths.length === 0 ? ["."] : paths).map((path) => ({ path, level: undefined, policy: undefined }));
  const found = new Map<string, Contract>();
  for (const { path, level, policy } of entries) {
    for (const file of findFiles([path], directory)) {
      const type = typeOf(file);
      if (type === undefined || (selected.length > 0 && !isUnder(file, selected))) continue;
      found.set(file, {
        path: file,
        type,
        level: level ?? defaults.level ?? settings?.level ?? "BACKWARD",
        policy: policy ?? defaults.policy ?? settings?.policy ?? "strict",
      });
    }
  }
  return [...found.values()].toSorted((left, right) => (left.path < right.path ? -1 : 1));
}
