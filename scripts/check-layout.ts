// Every package looks like every other one: the same fields, files and headings, so that a reader finds the way.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { isDeepStrictEqual } from "node:util";

const notAdapters: ReadonlySet<string> = new Set(["core", "conformance", "middleware", "schema", "otel", "cli", "url"]);
const adapterFiles = ["index", "capabilities", "options", "topology", "sender", "receiver", "record", "errors"];
const adapterHeadings = ["Install", "Use", "Words", "Delivery", "Capabilities", "Native access", "Limits"];
/** Files that an adapter does not need, with the reason. */
const absent: Readonly<Record<string, readonly string[]>> = {
  // No foreign options and no foreign errors: the broker is our own.
  memory: ["options", "errors"],
};
const fixedFields: Readonly<Record<string, unknown>> = {
  license: "MIT",
  type: "module",
  sideEffects: false,
  engines: { node: ">=22" },
  files: ["dist", "src", "!dist/.tsbuildinfo"],
  publishConfig: { access: "public" },
};
const door = /^\{"@sluice\/source":"\.\/src\/.+\.ts","types":"\.\/dist\/.+\.d\.ts","default":"\.\/dist\/.+\.js"\}$/;
const problems: string[] = [];

function read(path: string): string {
  return existsSync(path) ? readFileSync(path, "utf8") : "";
}

function checkPackage(name: string): void {
  const folder = `packages/${name}`;
  const manifest = JSON.parse(read(`${folder}/package.json`)) as Record<string, unknown>;
  if (manifest["name"] !== `@sluice/${name}`) problems.push(`${folder}: the name must be @sluice/${name}`);
  for (const [field, value] of Object.entries(fixedFields)) {
    if (!isDeepStrictEqual(manifest[field], value)) {
      problems.push(`${folder}/package.json: "${field}" must be ${JSON.stringify(value)}`);
    }
  }
  const { "./package.json": own, ...doors } = manifest["exports"] as Record<string, unknown>;
  if (own !== "./package.json") problems.push(`${folder}/package.json: must export "./package.json"`);
  for (const [path, target] of Object.entries(doors)) {
    if (!door.test(JSON.stringify(target)))
      problems.push(`${folder}/package.json: "${path}" must be source, types, default`);
  }
  if (read(`${folder}/LICENSE`) !== read("LICENSE")) problems.push(`${folder}/LICENSE: must equal the one at the top`);
  if (!read("tsconfig.build.json").includes(`"${folder}"`)) problems.push(`tsconfig.build.json: lacks ${folder}`);
}

function checkAdapter(name: string): void {
  const folder = `packages/${name}`;
  for (const file of [...adapterFiles, name].filter((each) => !absent[name]?.includes(each))) {
    if (!existsSync(`${folder}/src/${file}.ts`)) problems.push(`${folder}/src/${file}.ts: every adapter has this file`);
  }
  const index = read(`${folder}/src/index.ts`);
  const lines = index.split("\n").filter((line) => /\S/.test(line) && !/^\s*(?:\/\/|\/?\*)/.test(line));
  if (lines.length > 15) problems.push(`${folder}/src/index.ts: ${lines.length} lines, at most 15`);
  if (/export (?:default|\*)/.test(index)) problems.push(`${folder}/src/index.ts: named exports only`);
  const headings = [...read(`${folder}/README.md`).matchAll(/^## (.+)$/gm)].map(([, heading = ""]) => heading);
  const found = adapterHeadings.map((wanted) => headings.findIndex((heading) => heading.startsWith(wanted)));
  if (found.some((at, index) => at < 0 || at < (found[index - 1] ?? 0))) {
    problems.push(`${folder}/README.md: needs the headings ${adapterHeadings.join(" · ")}, in this order`);
  }
}

const packages = readdirSync("packages");
for (const name of packages) checkPackage(name);
for (const name of packages.filter((each) => !notAdapters.has(each))) checkAdapter(name);
const others = readdirSync("examples").map((name) => `examples/${name}`);
for (const folder of ["integration", ...others, ...packages.map((name) => `packages/${name}`)]) {
  if (!existsSync(`${folder}/README.md`)) problems.push(`${folder}/README.md: every workspace has one`);
}

for (const problem of problems) console.error(problem);
process.exitCode = problems.length === 0 ? 0 : 1;
