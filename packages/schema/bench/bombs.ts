import { isSluiceError } from "@sluice/core";
import { parseArgs } from "node:util";
import { compatible } from "../src/compatibility/index.ts";
import { jsonSchema } from "../src/json-schema/index.ts";
import { contractBombs } from "../test/contract-bombs.ts";
import { formatBombs } from "../test/format-bombs.ts";
import { message } from "../test/formats-support.ts";
import { payloadBombs } from "../test/payload-bombs.ts";

const help = `npm run bench:bombs -- [--runs N] [--json]

How long the inputs that are made to take for ever hold up the thread, until they are refused: the bodies, contracts and
texts of the unit tests. Processor time of the thread, the best of some runs.

  --runs N   runs of each (default 5)
  --json     figures as JSON

Exit code: 0 = each within 50 ms, 1 = one is not, 2 = wrong options`;

/** Issue 5: a bomb is refused within this time. */
const longestMs = 50;

interface Bomb {
  readonly name: string;
  readonly run: () => unknown;
}

const bombs: readonly Bomb[] = [
  ...payloadBombs.map(([name, codec, make]) => {
    const body = make();
    return { name, run: () => codec.decode(body, message() as never) };
  }),
  ...contractBombs.flatMap(([name, type, old, current]) => [
    { name: `contract: ${name}`, run: () => compatible({ type, level: "BACKWARD", schema: current, against: [old] }) },
    {
      name: `contract: ${name}, back`,
      run: () => compatible({ type, level: "BACKWARD", schema: old, against: [current] }),
    },
  ]),
  ...formatBombs.flatMap(([format, , texts]) => {
    const schema = jsonSchema({ type: "string", format });
    return texts.map((text) => ({
      name: `format ${format}: ${text.slice(0, 8)}`,
      run: () => schema["~standard"].validate(text),
    }));
  }),
];

/** Milliseconds of the thread, best of the runs. What is thrown must be an error of ours. */
async function measure({ run }: Bomb, runs: number): Promise<number> {
  let least = Number.POSITIVE_INFINITY;
  for (let left = runs; left > 0; left--) {
    const before = process.threadCpuUsage();
    try {
      await run();
    } catch (error) {
      if (!isSluiceError(error)) throw error;
    }
    const { user, system } = process.threadCpuUsage(before);
    least = Math.min(least, (user + system) / 1000);
  }
  return least;
}

const { values } = parseArgs({
  options: {
    runs: { type: "string", default: "5" },
    json: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});

if (values.help) {
  console.log(help);
} else {
  const rows: { readonly name: string; readonly ms: number }[] = [];
  for (const bomb of bombs) rows.push({ name: bomb.name, ms: await measure(bomb, Number(values.runs)) });
  const slow = rows.filter(({ ms }) => ms > longestMs);
  const slowest = rows.toSorted((one, other) => other.ms - one.ms).slice(0, 12);
  if (values.json) console.log(JSON.stringify(rows, undefined, 2));
  else for (const { name, ms } of slowest) console.log(`${ms.toFixed(1).padStart(6)} ms  ${name}`);
  console.log(`${rows.length} bombs, ${slow.length} above ${longestMs} ms`);
  process.exitCode = slow.length === 0 ? 0 : 1;
}
