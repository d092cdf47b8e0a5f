// Everything that is done around every message, on every broker: one list, in one order.
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Middleware } from "@sluice/core";
import {
  claimCheck,
  cloudEvents,
  compress,
  correlation,
  encrypt,
  fileClaims,
  type Idempotent,
  idempotent,
  log,
  memoryStore,
  timeout,
} from "@sluice/middleware";

// In a service: a folder that every instance sees, keys from where keys are kept, a store that every instance asks.
const folder = mkdtempSync(join(tmpdir(), "observed-service-"));
process.once("exit", () => rmSync(folder, { recursive: true, force: true }));
const claims = fileClaims(folder);
const key = randomBytes(32);
const keys = { current: "2026-11", get: (id: string) => (id === "2026-11" ? key : undefined) };

/** n.b. Made once for all buses: a handler may publish on another broker than its message came from. */
const flow = correlation({ ambient: true });

/** For handlers whose effect must not happen twice when a message comes twice. */
export const once: Idempotent = idempotent(memoryStore());

/** @param telemetry goes first, so that the rest happens inside of its spans */
export function around(telemetry: Middleware): Middleware {
  return {
    publish: [...(telemetry.publish ?? []), ...flow.publish],
    delivery: [log()],
    attempt: [...(telemetry.attempt ?? []), ...flow.attempt, timeout("10s")],
    batch: telemetry.batch ?? [],
    wire: [
      cloudEvents({ source: "/observed-service" }),
      compress({ threshold: 256 }),
      encrypt({ keys }),
      claimCheck(claims, { threshold: 8 * 1024 }),
    ],
  };
}
