import { readFileSync } from "node:fs";
import { type Finding, probe } from "./run.ts";
import type { Sample, Target, TextHeaders } from "./target.ts";

/** An input that once broke something, and what. */
interface Regression {
  readonly why: string;
  readonly target: string;
  readonly text?: string;
  readonly hex?: string;
  readonly headers?: TextHeaders;
  /** How often the values of the headers are repeated. @default 1 */
  readonly times?: number;
}

const path = new URL("corpus.json", import.meta.url);

/** The seed decides how a target dresses an input, such as a header's type on the wire: the one that broke it is among these. */
const seeds = 50;

/** Runs every input that ever broke something. */
export async function corpus(targets: readonly Target[]): Promise<readonly Finding[]> {
  const regressions = JSON.parse(readFileSync(path, "utf8")) as readonly Regression[];
  const findings: Finding[] = [];
  for (const { target: name, why, text = "", hex, headers: given = {}, times = 1 } of regressions) {
    const target = targets.find((each) => each.name === name);
    if (!target) throw new Error(`corpus.json: there is no target "${name}"; change the name there, too`);
    const bytes = hex === undefined ? Buffer.from(text) : Buffer.from(hex, "hex");
    const headers = Object.fromEntries(Object.entries(given).map(([header, value]) => [header, value.repeat(times)]));
    // A large one is about time, and the same for every seed.
    for (let seed = 1; seed <= (times > 1 ? 1 : seeds); seed++) {
      const sample: Sample = { bytes, headers, seed };
      const problems = await probe(target, sample);
      const printable = { bytes: bytes.toString("hex"), headers, seed };
      findings.push(
        ...problems.map(([kind, detail]) => ({
          target: name,
          kind,
          detail: `again: ${why}: ${detail}`,
          index: -1,
          sample: printable,
        })),
      );
    }
  }
  return findings;
}
