import type { protos } from "@google-cloud/pubsub";
import { DriverError, type GroupSource, type Position } from "@sluice/core/driver";

/**
 * A position as the API's request. n.b. the client library's own `seek(Date)` gets the fraction of the second wrong.
 * @throws DriverError UNSUPPORTED | CONFIG
 */
export function toSeek(
  source: GroupSource,
  to: Position,
  options: { readonly project: string; readonly wallMs: number; readonly retainAcked: boolean },
): Omit<protos.google.pubsub.v1.ISeekRequest, "subscription"> {
  if (typeof to === "object" && "native" in to) return { snapshot: snapshotPath(options.project, to.native) };
  // What was sent until now counts as settled.
  if (to === "now") return { time: timestamp(options.wallMs) };
  if (!options.retainAcked) {
    throw new DriverError(
      "UNSUPPORTED",
      `google-pubsub: group "${source.group}" of topic "${source.topic}" keeps nothing that was settled; make it with retainAcked: true, or seek to a snapshot`,
    );
  }
  return { time: timestamp(to === "earliest" ? 1_000 : to.time) };
}

/** Wall milliseconds as the API has them. */
export function timestamp(ms: number): protos.google.protobuf.ITimestamp {
  if (!Number.isFinite(ms)) throw new DriverError("CONFIG", `google-pubsub: the time to seek to is ${ms}`);
  const seconds = Math.floor(ms / 1_000);
  return { seconds, nanos: Math.round((ms - seconds * 1_000) * 1_000_000) };
}

/** A snapshot's own name, or its whole path. */
function snapshotPath(project: string, name: string): string {
  if (/^projects\/[^/]+\/snapshots\/[^/]+$/.test(name)) return name;
  if (/^[A-Za-z][A-Za-z0-9._~+%-]{2,254}$/.test(name)) return `projects/${project}/snapshots/${name}`;
  throw new DriverError("CONFIG", `google-pubsub: ${JSON.stringify(name)} is no name of a snapshot`);
}
