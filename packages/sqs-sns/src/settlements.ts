import { ChangeMessageVisibilityBatchCommand, DeleteMessageBatchCommand } from "@aws-sdk/client-sqs";
import type { DriverError, Runtime } from "@sluice/core/driver";
import { parts as inParts, timed } from "./call.ts";
import type { Clients } from "./clients.ts";
import type { FoundQueue } from "./directory.ts";
import { translate } from "./errors.ts";

/** A received message as deletions and renewals need it. */
export interface Handled {
  readonly line: { readonly queue: FoundQueue };
  readonly handle: string;
}

export interface SettleParts {
  readonly clients: Clients;
  readonly runtime: Runtime;
  /** The role may not do this to the queue: no message of it will ever be settled. */
  forbidden?(error: DriverError): void;
}

interface Failure {
  readonly Id?: string | undefined;
  readonly Code?: string | undefined;
  readonly SenderFault?: boolean | undefined;
}

const batchItems = 10;
/** How often entries are tried that failed by the service's fault; an answer can be good with entries in it that are not. */
const tries = 3;

/** Each: confirmed, refused (the handle is no longer ours), or nothing known (the service did not answer). */
export type Confirmation = "done" | "refused" | "unknown";

type Run = (
  url: string,
  entries: readonly { readonly Id: string; readonly ReceiptHandle: string }[],
  options: { abortSignal: AbortSignal },
) => Promise<readonly Failure[]>;

/** Deletes messages for good, in batches by queue. */
export function deleteAll<T extends Handled>(
  parts: SettleParts,
  all: readonly T[],
  signal?: AbortSignal,
): Promise<ReadonlyMap<T, Confirmation>> {
  const run: Run = async (QueueUrl, Entries, options) => {
    const command = new DeleteMessageBatchCommand({ QueueUrl, Entries: [...Entries] });
    return (await parts.clients.calls.sqs.send(command, options)).Failed ?? [];
  };
  return inBatches(parts, all, "cannot delete from", run, signal);
}

/** Hides messages for so long from now on; 0 shows them to everybody. */
export function hideAll<T extends Handled>(
  parts: SettleParts,
  all: readonly T[],
  seconds: number,
  signal?: AbortSignal,
): Promise<ReadonlyMap<T, Confirmation>> {
  const run: Run = async (QueueUrl, entries, options) => {
    const Entries = entries.map((entry) => ({ ...entry, VisibilityTimeout: seconds }));
    const command = new ChangeMessageVisibilityBatchCommand({ QueueUrl, Entries });
    return (await parts.clients.calls.sqs.send(command, options)).Failed ?? [];
  };
  return inBatches(parts, all, "cannot change the visibility in", run, signal);
}

/** Batches of a FIFO queue go one after another, in the given order; everything else at once. */
async function inBatches<T extends Handled>(
  parts: SettleParts,
  all: readonly T[],
  doing: string,
  run: Run,
  signal: AbortSignal | undefined,
): Promise<ReadonlyMap<T, Confirmation>> {
  const results = new Map<T, Confirmation>();
  const byQueue = Map.groupBy(all, ({ line }) => line.queue);
  const queues = [...byQueue].map(async ([queue, some]) => {
    const one = (batch: T[]) => batchOf(parts, queue, batch, `${doing} queue "${queue.name}"`, run, signal, results);
    const batches = inParts(some, batchItems);
    if (!queue.fifo) await Promise.all(batches.map(one));
    else for (const batch of batches) await one(batch);
  });
  await Promise.all(queues);
  return results;
}

async function batchOf<T extends Handled>(
  parts: SettleParts,
  queue: FoundQueue,
  batch: readonly T[],
  doing: string,
  run: Run,
  signal: AbortSignal | undefined,
  results: Map<T, Confirmation>,
): Promise<void> {
  let left = batch.map((one, index) => ({ one, Id: String(index), ReceiptHandle: one.handle }));
  for (let attempt = 1; attempt <= tries && left.length > 0; attempt++) {
    const entries = left.map(({ Id, ReceiptHandle }) => ({ Id, ReceiptHandle }));
    let failures: readonly Failure[];
    try {
      failures = await timed({ runtime: parts.runtime, doing, signal, ms: 15_000 }, (options) =>
        run(queue.url, entries, options),
      );
    } catch (error) {
      const reason = translate(error, doing);
      if (reason.code === "FORBIDDEN") parts.forbidden?.(reason);
      break; // nothing is known of these: their leases end by themselves
    }
    const failed = new Map(failures.map((failure) => [failure.Id, failure]));
    for (const { one, Id } of left) {
      const failure = failed.get(Id);
      if (!failure) results.set(one, "done");
      else if (failure.SenderFault !== false) results.set(one, "refused");
    }
    left = left.filter(({ one }) => !results.has(one));
  }
  for (const { one } of left) results.set(one, "unknown");
}
