import { randomUUID } from "node:crypto";
import type { Runtime } from "@sluice/core/driver";
import { monotonicMs } from "./clock.ts";

/** The machine's clock, for cases that talk to the driver below core. */
export const nodeRuntime: Runtime = {
  wallMs: () => Date.now(),
  monotonicMs,
  random: () => Math.random(),
  id: () => randomUUID(),
  timer(ms, run, options) {
    const timer = setTimeout(run, ms);
    if (options?.background) timer.unref();
    return () => clearTimeout(timer);
  },
  defer: (run) => void setImmediate(run),
};
