import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, afterEach, beforeEach, describe, expect, it } from "vitest";
import { contractsCommand } from "../src/contracts/command.ts";

let directory = "";
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "sluice-contracts-"));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

function write(path: string, content: unknown): void {
  mkdirSync(dirname(join(directory, path)), { recursive: true });
  writeFileSync(join(directory, path), typeof content === "string" ? content : JSON.stringify(content));
}

const identity = ["-c", "user.name=Test", "-c", "user.email=test@example.com", "-c", "commit.gpgsign=false"];
function git(...rest: readonly string[]): string {
  return execFileSync("git", [...identity, ...rest], { cwd: directory, encoding: "utf8", stdio: "pipe" });
}
function commit(message: string): void {
  git("add", "--all");
  git("commit", "--quiet", "--allow-empty", "--message", message);
}

interface Ran {
  readonly code: number;
  readonly out: string;
  readonly error: string;
}
async function run(...list: readonly string[]): Promise<Ran> {
  return await runIn({ colours: false, folder: "" }, ...list);
}
async function runIn(
  { colours, folder }: { readonly colours: boolean; readonly folder: string },
  ...list: readonly string[]
): Promise<Ran> {
  const texts = { out: "", error: "" };
  const code = await contractsCommand(list, {
    directory: join(directory, folder),
    version: "1.2.3",
    colours,
    write: (text) => void (texts.out += text),
    writeError: (text) => void (texts.error += text),
  });
  return { code, ...texts };
}

const record = (...fields: readonly object[]) => ({ type: "record", name: "Order", fields });
const id = { name: "id", type: "string" };
const count = { name: "n", type: "int" };
const closed = (properties: object) => ({ type: "object", properties, additionalProperties: false });
const proto = (fields: string) => `syntax = "proto3";\nmessage A { ${fields} }\n`;

function writeAll(): void {
  write("schemas/order.avsc", record(id));
  write("schemas/payment.schema.json", closed({ a: { type: "string" } }));
  write("schemas/a.proto", proto("int32 a = 1;"));
  write("package.json", { name: "not a schema" });
  write("node_modules/other/b.avsc", "int");
}

describe("sluice-contracts check, against a commit", () => {
  // Made once, and copied: a git process costs more than a test.
  let repository: string | undefined;
  beforeEach(() => {
    if (repository !== undefined) return cpSync(repository, directory, { recursive: true });
    git("init", "--quiet", "--initial-branch", "main", "--template=");
    writeAll();
    commit("first");
    repository = mkdtempSync(join(tmpdir(), "sluice-contracts-"));
    cpSync(directory, repository, { recursive: true });
  });
  afterAll(() => rmSync(repository ?? "", { recursive: true, force: true }));

  it("prints one line a contract", async () => {
    write("schemas/order.avsc", record(id, { ...count, default: 0 }));
    write("schemas/new file.avsc", '"int"');
    expect(await run("check", "--against", "main")).toEqual({
      code: 0,
      error: "",
      out: [
        "compatible    schemas/a.proto              BACKWARD",
        "new           schemas/new file.avsc        BACKWARD",
        "compatible    schemas/order.avsc           BACKWARD",
        "compatible    schemas/payment.schema.json  BACKWARD",
        "",
      ].join("\n"),
    });
  });

  it("names path and reason of each problem, and what was removed or cannot be read", async () => {
    write("schemas/order.avsc", record(id, count));
    write("schemas/a.proto", "message A {");
    rmSync(join(directory, "schemas/payment.schema.json"));
    expect(await run("check", "--against", "HEAD")).toEqual({
      code: 1,
      error: "",
      out: [
        "invalid       schemas/a.proto              BACKWARD",
        "  compatibility: the new schema is not a .proto file: line 1: it ends too early; correct it",
        "incompatible  schemas/order.avsc           BACKWARD",
        '  Order.n: the reader\'s field "n" was not written and has no default (the new schema reads HEAD)',
        "removed       schemas/payment.schema.json",
        "",
      ].join("\n"),
    });
  });

  it("takes paths, from the folder where it runs", async () => {
    write("schemas/order.avsc", record(id, count));
    const { out } = await runIn({ colours: false, folder: "schemas" }, "check", "--against", "main", "a.proto");
    expect(out).toBe("compatible    a.proto  BACKWARD\n");
    rmSync(join(directory, "schemas/order.avsc"));
    const removed = await run("check", "--against", "main", "schemas/order.avsc");
    expect(removed).toEqual({ code: 1, error: "", out: "removed       schemas/order.avsc\n" });
  });

  it("compares with the whole history where the level is transitive", async () => {
    write("schemas/order.avsc", record(id, { ...count, default: 0 }));
    commit("second");
    write("schemas/order.avsc", record(id));
    commit("third");
    write("schemas/order.avsc", record(id, { name: "n", type: "string", default: "" }));
    expect((await run("check", "--against", "main", "schemas/order.avsc")).code).toBe(0);
    const transitive = await run("check", "--against", "main", "--level", "BACKWARD_TRANSITIVE", "schemas/order.avsc");
    const second = git("rev-parse", "main~1").slice(0, 10);
    expect(transitive.code).toBe(1);
    expect(transitive.out).toContain(`  Order.n: int cannot be read as string (the new schema reads ${second})`);
  });

  it("refuses a transitive level in a clone without history", async () => {
    commit("second");
    git("clone", "--quiet", "--depth", "1", `file://${directory}`, "clone");
    const { code, error } = await runIn(
      { colours: false, folder: "clone" },
      "check",
      "--against",
      "HEAD",
      "--level",
      "FULL_TRANSITIVE",
    );
    expect(code).toBe(2);
    expect(error).toContain("git fetch --unshallow");
  });

  it("takes levels and policies from contracts.json", async () => {
    const contracts = ["schemas", { path: "schemas/order.avsc", level: "FORWARD" }];
    write("contracts.json", { level: "FULL", contracts });
    commit("contracts");
    expect((await run("list")).out).toBe(
      [
        "schemas/a.proto              protobuf     FULL",
        "schemas/order.avsc           avro         FORWARD",
        "schemas/payment.schema.json  json-schema  FULL",
        "",
      ].join("\n"),
    );
    write("schemas/order.avsc", record(id, count));
    write("schemas/payment.schema.json", closed({ a: { type: "string" }, b: { type: "string" } }));
    const { code, out } = await run("check", "--against", "main");
    expect(code).toBe(1);
    expect(out).toContain("compatible    schemas/order.avsc           FORWARD");
    expect(out).toContain("incompatible  schemas/payment.schema.json  FULL");
    write("contracts.json", { level: "FULL", policy: "lenient", contracts });
    expect((await run("check", "--against", "main")).code).toBe(0);
    write("contracts.json", { contracts: ["schemas/order.avsc"] });
    expect((await run("check", "--against", "main")).out).toContain("removed       schemas/a.proto");
  });

  it("gives JSON, and colours, when asked", async () => {
    write("schemas/order.avsc", record(id, count));
    const { code, out } = await run("check", "--against", "main", "--json", "schemas/order.avsc");
    expect(code).toBe(1);
    expect(JSON.parse(out)).toEqual({
      compatible: false,
      against: "main",
      contracts: [
        {
          path: "schemas/order.avsc",
          level: "BACKWARD",
          status: "incompatible",
          problems: [
            {
              path: "Order.n",
              reason: 'the reader\'s field "n" was not written and has no default',
              direction: "backward",
              against: "main",
            },
          ],
        },
      ],
    });
    const coloured = await runIn({ colours: true, folder: "" }, "check", "--against", "main", "schemas/order.avsc");
    expect(coloured.out).toContain("\u001B[31mincompatible\u001B[39m  schemas/order.avsc");
  });

  it("knows names with signs, and refs that look like options", async () => {
    write("schemas/ä [1]*.avsc", '"int"');
    commit("signs");
    write("schemas/ä [1]*.avsc", '"string"');
    expect((await run("check", "--against", "HEAD", "schemas/ä [1]*.avsc")).out).toContain("incompatible");
    const { code, error } = await run("check", "--against=--output=x");
    expect(code).toBe(2);
    expect(error).toContain("no commit of a git repository");
  });
});

describe("sluice-contracts check, against files", () => {
  it("compares with the same paths in a folder", async () => {
    write("old/order.avsc", record(id));
    write("old/gone.proto", proto("int32 a = 1;"));
    write("new/order.avsc", record(id, count));
    const { code, out } = await runIn({ colours: false, folder: "new" }, "check", "--against", "../old");
    expect(code).toBe(1);
    expect(out).toContain("(the new schema reads ../old/order.avsc)");
    expect(out).toContain("removed       gone.proto");
  });

  it("compares one contract with one file", async () => {
    writeAll();
    write("old.avsc", record(id, count));
    const forward = ["--against", "old.avsc", "--level", "FORWARD"];
    const { code, out } = await run("check", ...forward, "schemas/order.avsc");
    expect(code).toBe(1);
    expect(out).toContain("(old.avsc reads the new schema)");
    expect((await run("check", ...forward, "schemas")).error).toContain("name one");
  });
});

describe("sluice-contracts, used wrongly", () => {
  it.for([
    [[], "say what to do: check or list"],
    [["publish"], 'there is no command "publish"'],
    [["check"], "check needs --against"],
    [["check", "--against", "nothing"], "is no file, no folder and no commit"],
    [["check", "--against", ".", "--level", "SOME"], 'there is no level "SOME"'],
    [["check", "--against", ".", "--policy", "lax"], 'there is no policy "lax"'],
    [["check", "--against", ".", "missing.avsc"], '"missing.avsc" does not exist'],
    [["check", "--against", ".", "readme.txt"], "is no schema"],
    [["check", "--against", "empty", "empty"], "there are no contracts here"],
    [["list", "--against", "."], "list takes no --against"],
    [["list", "--config", "none.json"], '--config "none.json" does not exist'],
    [["list", "--config", "broken.json"], "is not JSON"],
    [["list", "--config", "unknown.json"], 'unknown member "levels"'],
    [["list", "--config", "noPath.json"], 'contracts[0] has no "path"'],
    [["list", "--surprise"], "Unknown option '--surprise'"],
  ] as const)("%j exits with 2", async ([list, message]) => {
    mkdirSync(join(directory, "empty"));
    write("readme.txt", "text");
    write("broken.json", "{");
    write("unknown.json", { levels: "FULL", contracts: [] });
    write("noPath.json", { contracts: [{}] });
    const { code, out, error } = await run(...list);
    expect(error).toContain(message);
    expect({ code, out }).toEqual({ code: 2, out: "" });
    expect(error).toMatch(/^sluice-contracts: [^\n]+\n$/);
  });

  it("tells its use and its version when asked", async () => {
    expect((await run("--help")).out).toContain("sluice-contracts check --against GIT-REF|FOLDER|FILE");
    expect((await run("check", "--help")).code).toBe(0);
    expect(await run("--version")).toEqual({ code: 0, out: "1.2.3\n", error: "" });
  });
});
