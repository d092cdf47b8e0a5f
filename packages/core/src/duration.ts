import { SluiceError } from "./errors.ts";

/** Milliseconds, or a number with its unit: `250`, `'250ms'`, `'5s'`, `'1.5m'`, `'2h'`, `'7d'`. Never bare seconds. */
export type Duration = number | `${number}${"ms" | "s" | "m" | "h" | "d"}`;

const units = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

/**
 * Milliseconds of a duration.
 * @throws SluiceError `CONFIG` when it is negative, not finite or not in the form above; `what` names the option.
 */
export function milliseconds(duration: Duration, what = "duration"): number {
  const match = typeof duration === "string" ? /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(duration) : null;
  const value = match ? Number(match[1]) * units[match[2] as keyof typeof units] : duration;
  if (typeof value !== "number" || !Number.isFinite(value) || value < 0) {
    throw new SluiceError(
      "CONFIG",
      `sluice: ${what} is ${JSON.stringify(duration)}; give milliseconds as a number, or a text such as "250ms", "5s", "10m"`,
    );
  }
  return value;
}
