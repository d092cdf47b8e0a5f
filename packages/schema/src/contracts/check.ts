import { readFileSync, statSync } from "node:fs";
import { resolve } from "node:path";
import { isSluiceError } from "@sluice/core";
import { compatible } from "../compatibility/compatible.ts";
import { type Contract, looksLikeSchema, typeOf, UsageError } from "./contract.ts";
import { isUnder, isWalked, plain } from "./files.ts";
import { parseSettings, type Settings } from "./settings.ts";
import { openSource, type Source } from "./source.ts";

export interface Problem {
  readonly path: string;
  readonly reason: string;
  readonly direction: "backward" | "forward";
  /** The old version, as people name it. */
  readonly against: string;
}

/** What became of one contract. `invalid`: a version of it cannot be read or judged. */
export interface Checked {
  readonly path: string;
  readonly level: string;
  readonly status: "compatible" | "incompatible" | "new" | "removed" | "invalid";
  readonly problems: readonly Problem[];
  /** Of `invalid`: why. */
  readonly error?: string;
}

/** Compares contracts with what they were. Throws `UsageError`. */
export async function checkContracts(
  contracts: readonly Contract[],
  against: string,
  selection: { readonly settings: Settings | undefined; readonly file: string; readonly paths: readonly string[] },
  directory: string,
): Promise<readonly Checked[]> {
  const source = await openSource(against, directory);
  if (statSync(resolve(directory, against), { throwIfNoEntry: false })?.isFile() && contracts.length !== 1) {
    throw new UsageError(`--against "${against}" is one file, but ${contracts.length} contracts are checked; name one`);
  }
  const checked: Checked[] = [];
  for (const contract of contracts) checked.push(await checkOne(contract, source, directory));
  const present = new Set(contracts.map(({ path }) => path));
  for (const path of await formerPaths(source, selection, directory)) {
    if (!present.has(path)) checked.push({ path, level: "", status: "removed", problems: [] });
  }
  return checked.toSorted((left, right) => (left.path < right.path ? -1 : 1));
}

async function checkOne({ path, type, level, policy }: Contract, source: Source, directory: string): Promise<Checked> {
  const versions = await source.versions(path, level.endsWith("_TRANSITIVE"));
  const schema = readFileSync(resolve(directory, path), "utf8");
  try {
    const { problems } = compatible({ type, level, policy, schema, against: versions.map(({ text }) => text) });
    const named = problems.map((problem) => ({ ...problem, against: versions[problem.against]?.label ?? "" }));
    const status = problems.length > 0 ? "incompatible" : versions.length === 0 ? "new" : "compatible";
    return { path, level, status, problems: named };
  } catch (error) {
    if (!isSluiceError(error)) throw error;
    return { path, level, status: "invalid", problems: [], error: error.message };
  }
}

/** The contracts that there were: what the old `contracts.json` lists where there is one now, else all schemas. */
async function formerPaths(
  source: Source,
  {
    settings,
    file,
    paths,
  }: { readonly settings: Settings | undefined; readonly file: string; readonly paths: readonly string[] },
  directory: string,
): Promise<readonly string[]> {
  const selected = paths.length === 0 ? ["."] : paths.map((path) => plain(directory, path));
  const all = (await source.paths()).filter((path) => isUnder(path, selected) || paths.length === 0);
  if (settings !== undefined) {
    const [old] = await source.versions(plain(directory, file), false);
    if (old === undefined) return [];
    const entries = parseSettings(old.text, file, directory).entries.map(({ path }) => path);
    const listed = all.filter((path) => entries.includes(path) || (isUnder(path, entries) && isWalked(path)));
    return await schemasOf(source, listed, entries);
  }
  return await schemasOf(
    source,
    all.filter((path) => isWalked(path) || selected.includes(path)),
    selected,
  );
}

async function schemasOf(
  source: Source,
  paths: readonly string[],
  named: readonly string[],
): Promise<readonly string[]> {
  const found: string[] = [];
  for (const path of paths) {
    if (typeOf(path) === undefined) continue;
    const [version] = named.includes(path) ? [] : await source.versions(path, false);
    if (named.includes(path) || looksLikeSchema(path, version?.text ?? "")) found.push(path);
  }
  return found;
}
