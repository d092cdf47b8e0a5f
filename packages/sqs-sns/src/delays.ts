/** What a queue delays by itself. Longer waits come back after it and are sent on. */
export const longestDelayMs = 900_000;

/** How long a delivery can be held: twelve hours from its receipt, less what a renewal may take. */
export const holdMs: number = 12 * 3_600_000 - 120_000;
