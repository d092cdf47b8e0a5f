/** The only module of the kit that may use timers: everything else waits for events with these limits. */

/** Milliseconds of a clock that is shared by all processes of this machine and never jumps. */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint() / 1000n) / 1000;
}

/** Resolves after `ms`, or when the signal aborts. Never rejects. */
export function pause(ms: number, signal?: AbortSignal): Promise<void> {
  if (signal?.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const finish = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", finish);
      resolve();
    };
    const timer = setTimeout(finish, ms);
    signal?.addEventListener("abort", finish, { once: true });
  });
}

/** What ran out of time: the case that waited for it fails with this text. */
export class TimeLimitError extends Error {
  override readonly name = "TimeLimitError";
}

/** The promise, or a {@link TimeLimitError} that names what was awaited. `explain` is asked for more when time is up. */
export async function within<T>(ms: number, what: string, promise: Promise<T>, explain?: () => string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      const more = explain?.() ?? "";
      reject(new TimeLimitError(`${what}: not within ${ms} ms${more && `\n${more}`}`));
    }, ms);
  });
  try {
    return await Promise.race([promise, limit]);
  } finally {
    clearTimeout(timer);
  }
}

/** Asks again and again until the answer is not `undefined`: only for what raises no event (a broker's depth). */
export async function poll<T>(
  ms: number,
  what: string | (() => string),
  ask: () => Promise<T | undefined>,
  everyMs = 50,
): Promise<T> {
  const end = monotonicMs() + ms;
  for (;;) {
    const answer = await ask();
    if (answer !== undefined) return answer;
    if (monotonicMs() >= end) {
      throw new TimeLimitError(`${typeof what === "string" ? what : what()}: not within ${ms} ms`);
    }
    await pause(everyMs);
  }
}

/** Runs `run` every `ms` until the answer is called; never keeps the process alive. */
export function every(ms: number, run: () => void): () => void {
  const timer = setInterval(run, ms);
  timer.unref();
  return () => clearInterval(timer);
}

/** Runs `run` once after `ms`, unless the answer is called before. */
export function after(ms: number, run: () => void): () => void {
  const timer = setTimeout(run, ms);
  return () => clearTimeout(timer);
}
