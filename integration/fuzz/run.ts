import { Chance, seedOf } from "./chance.ts";
import { hostile } from "./hostile.ts";
import { Broken, type Sample, type Target } from "./target.ts";

/** The event loop may stand still for no longer than that, whatever comes in. */
const longestMs = 50;

/** What takes longer is looked at again. */
const suspectMs = 10;

/** Something that must not be. */
export interface Finding {
  readonly target: string;
  /** `error`: an error that the code does not promise. `broken`: a wrong result. `slow`: above 50 ms. `late`: an error that nobody caught. */
  readonly kind: "error" | "broken" | "slow" | "late";
  readonly detail: string;
  readonly index: number;
  readonly sample: {
    readonly bytes: string;
    readonly headers: Readonly<Record<string, string>>;
    readonly seed: number;
  };
}

export interface Tally {
  inputs: number;
  accepted: number;
  refused: number;
  /** Milliseconds of the input that took longest, as {@link judged}. */
  slowestMs: number;
}

export interface Fuzzed {
  readonly seed: number;
  readonly inputs: number;
  readonly ms: number;
  readonly targets: Readonly<Record<string, Tally>>;
  readonly findings: readonly Finding[];
}

export interface RunOptions {
  readonly inputs: number;
  readonly seed: number;
  readonly targets: readonly Target[];
  /** Only the input with this number. */
  readonly only?: number;
  /** Called before each input. */
  readonly before?: (index: number) => void;
}

/** The input with this number: the same for ever. */
export function inputOf(targets: readonly Target[], seed: number, index: number): { target: Target; sample: Sample } {
  const own = seedOf(seed, index);
  const chance = new Chance(own);
  const target = choose(targets, chance);
  return { target, sample: hostile(target, own, chance) };
}

function choose(targets: readonly Target[], chance: Chance): Target {
  const all = targets.reduce((sum, { weight = 1 }) => sum + weight, 0);
  let at = chance.next() * all;
  return targets.find(({ weight = 1 }) => (at -= weight) < 0) ?? chance.pick(targets);
}

/** Feeds hostile inputs to the targets, one after the other, and looks at what comes of it. */
export async function fuzz({ inputs, seed, targets, only, before }: RunOptions): Promise<Fuzzed> {
  const findings: Finding[] = [];
  const tallies: Record<string, Tally> = {};
  for (const { name } of targets) tallies[name] = { inputs: 0, accepted: 0, refused: 0, slowestMs: 0 };
  const late: unknown[] = [];
  const catchLate = (error: unknown) => void late.push(error);
  process.on("unhandledRejection", catchLate);
  const beganMs = performance.now();
  const [first, end] = only === undefined ? [0, inputs] : [only, only + 1];
  try {
    for (let index = first; index < end; index++) {
      before?.(index);
      const { target, sample } = inputOf(targets, seed, index);
      const tally = tallies[target.name];
      const found = await probe(target, sample, tally);
      if (late.length > 0) found.push(["late", String(late.splice(0)[0])]);
      findings.push(
        ...found.map(([kind, detail]) => ({ target: target.name, kind, detail, index, sample: printable(sample) })),
      );
    }
  } finally {
    process.off("unhandledRejection", catchLate);
  }
  return { seed, inputs: end - first, ms: performance.now() - beganMs, targets: tallies, findings };
}

type Problem = [Finding["kind"], string];

/** Runs one sample, and says what is wrong with the way in which it ended. */
export async function probe(target: Target, sample: Sample, tally?: Tally): Promise<Problem[]> {
  const problems: Problem[] = [];
  const { error, ms, failed } = await once(target, sample);
  if (failed && !target.expected(error)) problems.push([error instanceof Broken ? "broken" : "error", textOf(error)]);
  const judgedMs = ms > suspectMs ? await judged(target, sample) : ms;
  if (judgedMs > longestMs) problems.push(["slow", `${judgedMs.toFixed(1)} ms`]);
  if (tally) {
    tally.inputs++;
    tally[failed ? "refused" : "accepted"]++;
    tally.slowestMs = Math.max(tally.slowestMs, judgedMs);
  }
  return problems;
}

async function once(target: Target, sample: Sample): Promise<{ error: unknown; failed: boolean; ms: number }> {
  const beganMs = clockMs();
  try {
    const result = target.run(sample);
    if (result instanceof Promise) await result;
    return { error: undefined, failed: false, ms: clockMs() - beganMs };
  } catch (error) {
    return { error, failed: true, ms: clockMs() - beganMs };
  }
}

/**
 * How long an input holds up the process that once seemed to take long. Its first run may have paid for compiling or for a garbage
 * collection, so it runs five times more, and the least counts.
 */
async function judged(target: Target, sample: Sample): Promise<number> {
  let least = Number.POSITIVE_INFINITY;
  for (let left = 5; left > 0; left--) least = Math.min(least, (await once(target, sample)).ms);
  return least;
}

/** Processor time of this thread, where Node tells it: to wait for a core or a socket is no stall. Else the time of day. */
const clockMs: () => number = threadClock() ?? (() => performance.now());

function threadClock(): (() => number) | undefined {
  const { threadCpuUsage } = process as { threadCpuUsage?: () => { readonly user: number; readonly system: number } };
  if (!threadCpuUsage) return undefined;
  return () => {
    const { user, system } = threadCpuUsage.call(process);
    return (user + system) / 1000;
  };
}

function printable({ bytes, headers, seed }: Sample): Finding["sample"] {
  return { bytes: bytes.toString("hex"), headers: { ...headers }, seed };
}

function textOf(error: unknown): string {
  if (!(error instanceof Error)) return `thrown ${typeof error}: ${String(error)}`;
  const frame = error.stack?.split("\n").find((line) => /packages\/\w[\w-]*\/src/.test(line)) ?? "";
  return `${error.name}: ${error.message.slice(0, 300)} ${frame.trim().replace(/^at .*\/packages\//, "at packages/")}`.trim();
}
