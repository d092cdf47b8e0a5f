import { randomUUID } from "node:crypto";
import type { Runtime } from "./driver/index.ts";

/** The process's own clock, timers and randomness: the only file of core that touches them. */
export const nodeRuntime: Runtime = {
  wallMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  random: () => Math.random(),
  id: () => randomUUID(),
  timer(ms, run, options) {
    // n.b. Node fires a timer at once when its delay does not fit 31 bits.
    const timer = setTimeout(run, Math.min(ms, 2_147_483_647));
    if (options?.background) timer.unref();
    return () => clearTimeout(timer);
  },
  defer: (run) => void setImmediate(run),
};
