import type { Checked, Problem } from "./check.ts";
import type { Contract } from "./contract.ts";

const colourOf: Readonly<Record<Checked["status"], number>> = {
  compatible: 32,
  new: 36,
  incompatible: 31,
  removed: 31,
  invalid: 31,
};
const width = "incompatible".length;

/** One line a contract, and under it a line a problem. */
export function reportChecked(checked: readonly Checked[], against: string, json: boolean, colours: boolean): string {
  if (json) {
    const compatible = checked.every(({ status }) => status === "compatible" || status === "new");
    return `${JSON.stringify({ compatible, against, contracts: checked }, undefined, 2)}\n`;
  }
  const longest = Math.max(...checked.map(({ path }) => path.length));
  const lines = checked.flatMap(({ status, path, level, problems, error }) => {
    const padded = status.padEnd(width);
    const shown = colours ? `\u001B[${colourOf[status]}m${padded}\u001B[39m` : padded;
    const line = `${shown}  ${path.padEnd(longest)}  ${level}`.trimEnd();
    return [line, ...(error === undefined ? [] : [`  ${error}`]), ...problems.map(problemLine)];
  });
  return `${lines.join("\n")}\n`;
}

function problemLine({ path, reason, direction, against }: Problem): string {
  const who = direction === "backward" ? `the new schema reads ${against}` : `${against} reads the new schema`;
  return `  ${path}: ${reason} (${who})`;
}

export function reportContracts(contracts: readonly Contract[], json: boolean): string {
  if (json) return `${JSON.stringify({ contracts }, undefined, 2)}\n`;
  const longest = Math.max(0, ...contracts.map(({ path }) => path.length));
  return contracts.map(({ path, type, level }) => `${path.padEnd(longest)}  ${type.padEnd(11)}  ${level}\n`).join("");
}
