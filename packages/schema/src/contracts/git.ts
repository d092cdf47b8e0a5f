import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { UsageError, type Version } from "./contract.ts";

const run = promisify(execFile);
const maxBuffer = 64 * 1024 * 1024;

/** Files as a git commit has them. Runs git itself, without a shell. */
export class GitSource {
  readonly #directory: string;
  readonly #reference: string;
  readonly #commit: string;
  #files: Promise<ReadonlyMap<string, string>> | undefined;

  private constructor(directory: string, reference: string, commit: string) {
    this.#directory = directory;
    this.#reference = reference;
    this.#commit = commit;
  }

  /** Undefined where the name is no commit of the repository around the directory. */
  static async open(reference: string, directory: string): Promise<GitSource | undefined> {
    // n.b. --end-of-options: a ref may begin with a dash.
    const name = `${reference}^{commit}`;
    const commit = await git(directory, "rev-parse", "--verify", "--quiet", "--end-of-options", name).catch(() => "");
    return commit === "" ? undefined : new GitSource(directory, reference, commit.trim());
  }

  /** Paths from the directory. */
  async paths(): Promise<readonly string[]> {
    return [...(await this.#list()).keys()];
  }

  /** The version of the commit; with `all`, every version that led to it, oldest first. */
  async versions(path: string, all: boolean): Promise<readonly Version[]> {
    const blob = (await this.#list()).get(path);
    if (!all) return blob === undefined ? [] : [{ label: this.#reference, text: await this.#read(blob) }];
    await this.#refuseShallow();
    const log = await git(this.#directory, "log", "--reverse", "--format=%H", this.#commit, "--", path);
    const seen = new Map<string, string>();
    for (const commit of log.split("\n").filter(Boolean)) {
      for (const [, each] of await list(this.#directory, commit, path)) {
        if (!seen.has(each)) seen.set(each, commit.slice(0, 10));
      }
    }
    return await Promise.all([...seen].map(async ([each, label]) => ({ label, text: await this.#read(each) })));
  }

  async #refuseShallow(): Promise<void> {
    if ((await git(this.#directory, "rev-parse", "--is-shallow-repository")).trim() !== "true") return;
    throw new UsageError(
      "this clone has no full history, which a transitive level needs; fetch it (git fetch --unshallow)",
    );
  }

  #list(): Promise<ReadonlyMap<string, string>> {
    return (this.#files ??= list(this.#directory, this.#commit));
  }

  #read(blob: string): Promise<string> {
    return git(this.#directory, "cat-file", "blob", blob);
  }
}

/** Path → blob. */
async function list(
  directory: string,
  commit: string,
  ...paths: readonly string[]
): Promise<ReadonlyMap<string, string>> {
  // n.b. -z: names with spaces and other letters come as they are.
  const lines = await git(directory, "--literal-pathspecs", "ls-tree", "-r", "-z", commit, "--", ...paths);
  return new Map(
    lines.split("\0").flatMap((line) => {
      const [, blob, path] = /^100\d+ blob (\w+)\t(.+)$/s.exec(line) ?? [];
      return blob === undefined || path === undefined ? [] : [[path, blob] as const];
    }),
  );
}

async function git(directory: string, ...rest: readonly string[]): Promise<string> {
  const { stdout } = await run("git", rest, { cwd: directory, maxBuffer, encoding: "utf8" });
  return stdout;
}
