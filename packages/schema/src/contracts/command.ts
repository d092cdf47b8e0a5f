import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { checkContracts } from "./check.ts";
import { UsageError } from "./contract.ts";
import { isUnder, plain } from "./files.ts";
import { reportChecked, reportContracts } from "./report.ts";
import { contractsOf, levelOf, policyOf, readSettings } from "./settings.ts";

/** Where the command runs and where it writes. */
export interface Surroundings {
  readonly directory: string;
  readonly version: string;
  readonly colours: boolean;
  readonly write: (text: string) => void;
  readonly writeError: (text: string) => void;
}

const help = `sluice-contracts check --against GIT-REF|FOLDER|FILE [options] [paths…]
sluice-contracts list [options] [paths…]

Compares schema files (.avsc, .schema.json, .json, .proto) with what they were. Without contracts.json these are all
schemas under the paths, or under the working directory.

  --against WHAT     a commit, branch or tag; a folder with the same paths; a file, for one contract
  --level LEVEL      for contracts without a level of their own: NONE, BACKWARD (default), FORWARD, FULL,
                     BACKWARD_TRANSITIVE, FORWARD_TRANSITIVE, FULL_TRANSITIVE (transitive: the history of the commit)
  --policy POLICY    JSON Schema: strict (default) or lenient
  --config FILE      instead of contracts.json
  --json             one JSON document instead of lines
  --help, --version

Exit code: 0 compatible, 1 not compatible, removed or invalid, 2 wrong use.
`;

const options = {
  against: { type: "string" },
  level: { type: "string" },
  policy: { type: "string" },
  config: { type: "string" },
  json: { type: "boolean", default: false },
  help: { type: "boolean", default: false, short: "h" },
  version: { type: "boolean", default: false },
} as const;

function parse(list: readonly string[]) {
  try {
    return parseArgs({ args: [...list], options, allowPositionals: true });
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

/** Runs the command and gives its exit code. */
export async function contractsCommand(list: readonly string[], surroundings: Surroundings): Promise<number> {
  try {
    return await run(list, surroundings);
  } catch (error) {
    // n.b. exit code 1 would say that a contract is broken.
    const text = error instanceof UsageError ? error.message : ((error as Error).stack ?? String(error));
    surroundings.writeError(`sluice-contracts: ${text}\n`);
    return 2;
  }
}

async function run(list: readonly string[], surroundings: Surroundings): Promise<number> {
  const { values, positionals } = parse(list);
  const { directory, write } = surroundings;
  if (values.help) write(help);
  else if (values.version) write(`${surroundings.version}\n`);
  if (values.help || values.version) return 0;
  const [command, ...paths] = positionals;
  if (command !== "check" && command !== "list") {
    const problem = command === undefined ? "say what to do" : `there is no command "${command}"`;
    throw new UsageError(`${problem}: check or list; --help tells more`);
  }
  const file = values.config ?? "contracts.json";
  const settings = readSettings(file, directory);
  if (settings === undefined && values.config !== undefined) throw new UsageError(`--config "${file}" does not exist`);
  const defaults = { level: levelOf(values.level, "--level"), policy: policyOf(values.policy, "--policy") };
  const contracts = contractsOf(settings, paths, defaults, directory);
  if (command === "list") {
    if (values.against !== undefined) throw new UsageError("list takes no --against");
    refuseUnknown(paths, contracts, directory);
    write(reportContracts(contracts, values.json));
    return 0;
  }
  if (values.against === undefined) throw new UsageError("check needs --against: a git ref, a folder or a file");
  const checked = await checkContracts(contracts, values.against, { settings, file, paths }, directory);
  const listed = settings?.entries.map((entry) => entry.path) ?? [];
  refuseUnknown([...paths, ...(paths.length === 0 ? listed : [])], checked, directory);
  if (checked.length === 0) throw new UsageError("there are no contracts here; name folders with schemas");
  write(reportChecked(checked, values.against, values.json, surroundings.colours));
  return checked.every(({ status }) => status === "compatible" || status === "new") ? 0 : 1;
}

/** n.b. a path that is not there may be a contract that was removed; one that never was is a slip of the pen. */
function refuseUnknown(paths: readonly string[], known: readonly { readonly path: string }[], directory: string): void {
  for (const path of paths) {
    const named = plain(directory, path);
    if (existsSync(resolve(directory, path)) || known.some((each) => isUnder(each.path, [named]))) continue;
    throw new UsageError(`"${path}" does not exist; name a schema file or a folder`);
  }
}
