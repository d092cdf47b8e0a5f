/** Resolves when one of them settles, or the signal aborts. Leaves no listener behind. */
export async function untilAborted(signal: AbortSignal, ...work: readonly Promise<unknown>[]): Promise<void> {
  // Handled even when nobody waits for it: what is left to itself must not end the process.
  for (const each of work) each.catch(() => undefined);
  if (signal.aborted) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  const end = () => resolve();
  signal.addEventListener("abort", end, { once: true });
  for (const each of work) each.then(end, end);
  await promise;
  signal.removeEventListener("abort", end);
}
