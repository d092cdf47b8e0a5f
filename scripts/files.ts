import { readdirSync } from "node:fs";

const skipped = new Set(["node_modules", "dist", "coverage", ".git", ".cache", ".brokers", ".snippets", "temp"]);

/** Every file of the repository that is not made by a tool, relative to its root. */
export function repositoryFiles(folder = "."): readonly string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = folder === "." ? entry.name : `${folder}/${entry.name}`;
    if (entry.isDirectory()) return skipped.has(entry.name) ? [] : repositoryFiles(path);
    return entry.isFile() && !entry.name.endsWith(".tsbuildinfo") ? [path] : [];
  });
}
