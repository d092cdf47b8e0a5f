/** The value below which this part of the values lies. */
export function percentile(values: readonly number[], part: number): number {
  const sorted = values.toSorted((left, right) => left - right);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN;
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((left, right) => left - right);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? upper) + upper) / 2;
}

export interface Ratio {
  readonly median: number;
  readonly least: number;
  readonly most: number;
}

/** Of pairs that ran in the same repetition. `undefined` without any. */
export function ratio(pairs: readonly (readonly [mine: number, theirs: number])[]): Ratio | undefined {
  if (pairs.length === 0) return undefined;
  const ratios = pairs.map(([mine, theirs]) => mine / theirs);
  return { median: median(ratios), least: Math.min(...ratios), most: Math.max(...ratios) };
}
