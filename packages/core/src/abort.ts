/** Resolves when one of them settles, or the signal aborts. Leaves no listener behind. */
export async function untilAborted(signal: AbortSignal, ...work: readonly Promise<unknown>[]): Promise<void> {
  if (signal.aborted) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  const end = () => resolve();
  signal.addEventListener("abort", end, { once: true });
  for (const each of work) each.then(end, end);
  await promise;
  signal.removeEventListener("abort", end);
}
