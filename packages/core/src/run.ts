/**
 * Waits for one of the process's signals, or for `ended`. The first signal calls `first`, the second `second`; listeners are
 * gone when this resolves, which is when `ended` does.
 */
export async function untilSignal(
  signals: readonly NodeJS.Signals[],
  ended: Promise<void>,
  on: { first(): void | Promise<void>; second(): void },
): Promise<void> {
  let seen = 0;
  const listener = () => {
    seen++;
    if (seen === 1) void on.first();
    else if (seen === 2) on.second();
  };
  for (const signal of signals) process.on(signal, listener);
  try {
    await ended;
  } finally {
    for (const signal of signals) process.off(signal, listener);
  }
}
