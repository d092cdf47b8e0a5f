import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { repositoryFiles } from "../../scripts/files.ts";

/** A ```ts block of a document. */
export interface Snippet {
  /** `docs/delivery.md:42`, where its first line stands. */
  readonly name: string;
  /** The generated file. Its line numbers are those of the document. */
  readonly file: string;
  readonly code: string;
  /** Why it is not run, from the info string: "```ts no-run: needs a driver of yours". */
  readonly notRun: string | undefined;
  /** The broker that it runs on, from the info string: "```ts broker: kafka". */
  readonly broker: string | undefined;
  /** The lines that it must print, in any order, from its comments: `console.log(total); // → 3`. */
  readonly prints: readonly string[];
}

const fence = /^```(\w+)?[ \t]*(.*)\n([\s\S]*?)^```$/gm;

export function snippetsOf(document: string, text: string, folder: string): readonly Snippet[] {
  const found: Snippet[] = [];
  for (const { 1: language, 2: info = "", 3: code = "", index } of text.matchAll(fence)) {
    const line = text.slice(0, index).split("\n").length + 1;
    const name = `${document}:${line}`;
    if (/^(?:typescript|tsx|js|javascript|mjs|mts)$/.test(language ?? "")) {
      throw new Error(`${name}: write \`\`\`ts, so that the block is checked and run`);
    }
    if (language !== "ts") continue;
    const notRun = /^no-run: (\S.*)$/.exec(info)?.[1];
    const broker = /^broker: (\S+)$/.exec(info)?.[1];
    if (info !== "" && notRun === undefined && broker === undefined) {
      throw new Error(`${name}: "${info}" is not understood; write "no-run: why", "broker: name" or nothing`);
    }
    const prints = [...code.matchAll(/\/\/ → (.*)$/gm)].map(([, printed = ""]) => printed).toSorted();
    const file = `${folder}/${document}-${line}.ts`;
    found.push({ name, file, code: "\n".repeat(line - 1) + code, notRun, broker, prints });
  }
  return found;
}

/** Writes every snippet of these documents under `folder`, with a tsconfig for all of them. */
export function extract(documents: readonly string[], folder: string): readonly Snippet[] {
  const snippets = documents.flatMap((document) => snippetsOf(document, readFileSync(document, "utf8"), folder));
  rmSync(folder, { recursive: true, force: true });
  for (const { file, code } of snippets) {
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, code);
  }
  mkdirSync(folder, { recursive: true });
  const tsconfig = {
    extends: resolve("tsconfig.json"),
    compilerOptions: {
      rootDir: resolve("."),
      noUnusedLocals: false,
      noUnusedParameters: false,
      isolatedDeclarations: false,
    },
    include: ["**/*.ts"],
  };
  writeFileSync(`${folder}/tsconfig.json`, JSON.stringify(tsconfig));
  return snippets;
}

/** Every document whose snippets are checked. */
export function documents(): readonly string[] {
  return repositoryFiles().filter((path) => path.endsWith(".md") && !/^\.|CHANGELOG|\/api\//.test(path));
}
