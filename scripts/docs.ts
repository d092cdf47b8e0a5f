// Rewrites the generated parts of the documents, or says with --check which are out of date. A part stands between
// `<!-- generated: NAME -->` and `<!-- /generated -->`, and comes from the committed conformance reports.
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { capabilityTable, guaranteeTable, readReports } from "../packages/conformance/src/tables.ts";
import { repositoryFiles } from "./files.ts";

const folder = "docs/conformance";
const block = /(<!-- generated: ([\w-]+) -->\n)([\s\S]*?)(<!-- \/generated -->)/g;
const generators: Readonly<Record<string, () => string>> = {
  capabilities: () => fromReports(capabilityTable),
  guarantees: () => fromReports(guaranteeTable),
  errors: errorTable,
};
const reports = existsSync(folder) ? readReports(folder) : [];
const check = process.argv.includes("--check");

function part(path: string, name: string): string {
  const generate = generators[name];
  if (generate === undefined) throw new Error(`${path}: no generated part is called "${name}"`);
  return generate();
}

function fromReports(table: typeof capabilityTable): string {
  return reports.length === 0 ? `No conformance report stands in ${folder} yet.` : table(reports);
}

/** The table in the comment of the error codes. */
function errorTable(): string {
  const source = readFileSync("packages/core/src/errors.ts", "utf8");
  return [...source.matchAll(/^ \* (\|.*\|)$/gm)].map(([, row = ""]) => row.replaceAll("|---", "| --- ")).join("\n");
}

/** The formatter aligns tables: only words count. */
function words(text: string): string {
  return text.replaceAll(/-{3,}/g, "---").replaceAll(/\s+/g, " ").trim();
}

for (const path of repositoryFiles().filter((file) => file.endsWith(".md"))) {
  const before = readFileSync(path, "utf8");
  const after = before.replaceAll(block, (whole, open: string, name: string, old: string, close: string) => {
    const text = part(path, name);
    return words(old) === words(text) ? whole : `${open}\n${text}\n\n${close}`;
  });
  if (after === before) continue;
  if (!check) writeFileSync(path, after);
  else console.error(`${path}: a generated part is out of date; run npm run docs`);
  if (check) process.exitCode = 1;
}
