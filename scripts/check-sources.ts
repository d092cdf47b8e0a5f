// What the linter cannot see: clocks without an argument, silenced rules, traces of a machine.
import { readFileSync } from "node:fs";
import { repositoryFiles } from "./files.ts";

interface Rule {
  readonly files: RegExp;
  readonly except?: RegExp;
  readonly pattern: RegExp;
  readonly problem: string;
}

const clocks = /^packages\/(core\/src\/node-runtime|memory\/src\/simulation)\.ts$/;
const engine = /^packages\/(?!conformance\/)[^/]+\/src\/.*\.ts$/;
const typescript = /\.ts$/;

const rules: readonly Rule[] = [
  {
    files: engine,
    except: clocks,
    pattern: /new Date\(\s*\)/,
    problem: "reads the clock; use Runtime.wallMs()",
  },
  {
    files: engine,
    except: clocks,
    pattern: /from "(?:node:)?(?:timers(?:\/promises)?|perf_hooks)"|\b(?:random(?:UUID|Bytes|Int|Fill)|hrtime)\b/,
    problem: "imports a clock, a timer or chance; use Runtime",
  },
  {
    files: typescript,
    pattern: /\/[/*]\s*(?:ox|es)lint-disable(?!-next-line\s)/,
    problem: "silences a rule for more than one line",
  },
  {
    files: typescript,
    pattern: /\/[/*]\s*(?:ox|es)lint-disable-next-line(?!.*\s--\s\S)/,
    problem: "silences a rule without a reason; write ` -- why` behind it",
  },
  {
    files: typescript,
    pattern: /\/[/*]\s*(?:ox|es)lint-disable-next-line.*(?:max-lines|no-restricted|no-cycle|no-explicit-any)/,
    problem: "silences a rule that has no exceptions",
  },
  { files: typescript, pattern: /\/[/*]\s*@ts-(?:ignore|nocheck)/, problem: "silences the compiler" },
  {
    files: typescript,
    except: /(?:^|\/)test\//,
    pattern: /\/[/*]\s*@ts-expect-error/,
    problem: "expects a compiler error outside of a test",
  },
  {
    files: /./,
    pattern: /(?<![\w.*}/-])\/(?:work|root|home\/[a-z]+|Users\/[a-z]+|tmp\/w)\/[\w.-]/,
    problem: "names a path of one machine",
  },
  { files: /(?:package-lock\.json|\.npmrc)$/, pattern: /"resolved": "http|registry\s*=/, problem: "names a registry" },
];

let problems = 0;
for (const path of repositoryFiles()) {
  const applicable = rules.filter(({ files: wanted, except }) => wanted.test(path) && !except?.test(path));
  for (const [index, line] of readFileSync(path, "utf8").split("\n").entries()) {
    for (const { pattern, problem } of applicable) {
      if (!pattern.test(line)) continue;
      problems += 1;
      console.error(`${path}:${index + 1}: ${problem}`);
    }
  }
}
process.exitCode = problems === 0 ? 0 : 1;
