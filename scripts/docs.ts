// Rewrites the generated parts of the documents, or says with --check which are out of date. A part stands between
// `<!-- generated: NAME -->` and `<!-- /generated -->`.
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { repositoryFiles } from "./files.ts";

type Values = Readonly<Record<string, unknown>>;
interface Adapter {
  readonly name: string;
  readonly values: Values;
}

/** `{ delay: { group: "x" } }` → `delay.group: x`, one row each. */
function flat(values: Values, prefix = ""): readonly (readonly [string, string])[] {
  return Object.entries(values).flatMap(([name, value]) =>
    typeof value === "object" && value !== null
      ? flat(value as Values, `${prefix}${name}.`)
      : [[`${prefix}${name}`, typeof value === "boolean" ? (value ? "yes" : "no") : String(value)] as const],
  );
}

async function adapters(): Promise<readonly Adapter[]> {
  const found: Adapter[] = [];
  for (const name of readdirSync("packages")) {
    const file = `packages/${name}/src/capabilities.ts`;
    if (!existsSync(file)) continue;
    const members = Object.values((await import(`../${file}`)) as Values);
    const values = members.find((value) => typeof value === "object" && value !== null && "sendOrder" in value);
    if (values !== undefined) found.push({ name, values: values as Values });
  }
  // Memory first: it is the reference.
  return found.toSorted((left, right) => Number(right.name === "memory") - Number(left.name === "memory"));
}

/** The comment above each member of `Capabilities`: the contract is the only place that explains them. */
function meanings(): ReadonlyMap<string, string> {
  const file = readFileSync("packages/core/src/driver/capabilities.ts", "utf8");
  const source = file.split("interface Capabilities {")[1]?.split("\n}")[0] ?? "";
  const members = source.matchAll(/\/\*\* (.+?) \*\/\n {2}readonly (\w+):/g);
  return new Map([...members].map(([, comment = "", name = ""]) => [name, comment.replaceAll("|", "\\|")]));
}

function table(all: readonly Adapter[], withMeaning: boolean): string {
  const columns = all.map(({ values }) => new Map(flat(values)));
  const names = [...new Set(columns.flatMap((column) => [...column.keys()]))];
  const explained = meanings();
  const rows = names.map((name) => {
    const cells = columns.map((column) => column.get(name) ?? "–");
    return [`\`${name}\``, ...cells, ...(withMeaning ? [explained.get(name.split(".")[0] ?? "") ?? ""] : [])];
  });
  const head = ["capability", ...all.map(({ name }) => name), ...(withMeaning ? ["meaning"] : [])];
  return [head, head.map(() => "---"), ...rows].map((cells) => `| ${cells.join(" | ")} |`).join("\n");
}

/** Formatting is not content: the formatter aligns tables. */
function words(text: string): string {
  return text.replaceAll(/-{3,}/g, "---").replaceAll(/\s+/g, " ");
}

const all = await adapters();
const parts: Readonly<Record<string, () => string>> = {
  capabilities: () => table(all, false),
  guarantees: () => table(all, true),
};
const block = /(<!-- generated: ([\w-]+) -->\n)([\s\S]*?)(<!-- \/generated -->)/g;
for (const path of repositoryFiles().filter((file) => file.endsWith(".md"))) {
  const before = readFileSync(path, "utf8");
  const after = before.replaceAll(block, (whole, open: string, name: string, old: string, close: string) => {
    const part = parts[name];
    if (part === undefined) throw new Error(`${path}: no generated part is called "${name}"`);
    return words(old) === words(`\n${part()}\n\n`) ? whole : `${open}\n${part()}\n\n${close}`;
  });
  if (after === before) continue;
  if (!process.argv.includes("--check")) writeFileSync(path, after);
  else console.error(`${path}: a generated part is out of date; run npm run docs`);
  if (process.argv.includes("--check")) process.exitCode = 1;
}
