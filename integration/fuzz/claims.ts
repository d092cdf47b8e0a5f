import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path/posix";
import type { WireMiddleware } from "@sluice/core";
import { claimCheck, fileClaims } from "@sluice/middleware";
import type { Golden } from "./target.ts";
import { wireOf } from "./targets/core.ts";

const payload = Buffer.from(JSON.stringify({ orderId: "o-1", note: "x".repeat(2000) }));

/** A store of claims in a folder, which is never down. */
export interface Claims {
  readonly middleware: WireMiddleware;
  /** A message with a claim, and its body. */
  readonly golden: Golden;
  readonly payload: Buffer;
  /** A claim like the golden one, to an object that somebody made up. */
  readonly claim: (name: string) => Buffer;
  /** Names that no object of a folder can have, and whoever can publish can write. */
  readonly hostileNames: readonly string[];
  readonly close: () => void;
}

export async function openClaims(): Promise<Claims> {
  const folder = mkdtempSync(join(tmpdir(), "sluice-fuzz-claims-"));
  const store = fileClaims(folder);
  const middleware = claimCheck(store, { threshold: 100 });
  const message = wireOf({ bytes: payload, headers: { "content-type": "application/json" }, seed: 0 }, "orders");
  await middleware.outgoing?.(message);
  const golden = { bytes: Buffer.from(message.body ?? []), headers: { ...message.headers } };
  const claim = JSON.parse(golden.bytes.toString()) as { readonly dataref: string };
  const name = claim.dataref.slice(store.base.length);
  return {
    middleware,
    golden,
    payload,
    claim: (other) => Buffer.from(JSON.stringify({ ...claim, dataref: store.base + other })),
    hostileNames: [
      dirname(name),
      `${name}/x`,
      "a".repeat(300),
      `${"a/".repeat(200)}a`,
      ".sluice-claims",
      ".",
      "..",
      "",
    ],
    close: () => rmSync(folder, { recursive: true, force: true }),
  };
}
