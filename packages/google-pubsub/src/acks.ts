import { GoogleError } from "google-gax";
import { DriverError, type Runtime, sleep } from "@sluice/core/driver";
import type { Calls } from "./channels.ts";
import { isPassing, status, statusOf } from "./errors.ts";
import { methods } from "./methods.ts";
import { shortName } from "./names.ts";

/** The service takes half a megabyte of ids. */
const mostIds = 1_000;

const tries = 4;
const firstPauseMs = 100;

export interface AckParts {
  readonly channels: Calls;
  readonly runtime: Runtime;
}

/**
 * Accepts (`seconds` undefined), releases (0) or prolongs messages of one subscription. Resolves to the ids for which that cannot be
 * any more. Tries again what may pass: to do it twice changes nothing.
 */
export async function settleIds(
  parts: AckParts,
  subscription: string,
  ids: readonly string[],
  seconds: number | undefined,
  signal?: AbortSignal,
): Promise<ReadonlySet<string>> {
  const lost = new Set<string>();
  const chunks: (readonly string[])[] = [];
  for (let from = 0; from < ids.length; from += mostIds) chunks.push(ids.slice(from, from + mostIds));
  await Promise.all(chunks.map((chunk) => settleChunk(parts, { subscription, ids: chunk, seconds, lost, signal })));
  return lost;
}

interface Chunk {
  readonly subscription: string;
  readonly ids: readonly string[];
  readonly seconds: number | undefined;
  readonly lost: Set<string>;
  readonly signal: AbortSignal | undefined;
}

async function settleChunk(parts: AckParts, chunk: Chunk): Promise<void> {
  const { lost, signal } = chunk;
  let left = chunk.ids;
  for (let attempt = 0; left.length > 0; attempt++) {
    const error = await send(parts.channels, { ...chunk, ids: left });
    if (!error) return;
    const answers = answersOf(error);
    if (answers) {
      // Exactly-once: an answer for each id that failed.
      for (const id of left) if (answers[id]?.startsWith("PERMANENT")) lost.add(id);
      left = left.filter((id) => answers[id]?.startsWith("TRANSIENT"));
    } else if (statusOf(error) === status.invalidArgument && left.length > 1) {
      return halves(parts, { ...chunk, ids: left });
    }
    const passing = answers !== undefined || error.retryable || isPassing(statusOf(error) ?? status.ok);
    if (!passing || attempt + 1 >= tries || signal?.aborted) break;
    await sleep(parts.runtime, firstPauseMs * 2 ** attempt, signal);
  }
  for (const id of left) lost.add(id);
}

/** One id that is unknown makes an emulator refuse the whole request. */
async function halves(parts: AckParts, chunk: Chunk): Promise<void> {
  const middle = Math.ceil(chunk.ids.length / 2);
  await settleChunk(parts, { ...chunk, ids: chunk.ids.slice(0, middle) });
  await settleChunk(parts, { ...chunk, ids: chunk.ids.slice(middle) });
}

async function send(channels: Calls, { subscription, ids, seconds, signal }: Chunk): Promise<DriverError | undefined> {
  const ackIds = [...ids];
  const doing = `cannot settle messages of "${shortName(subscription)}"`;
  try {
    if (seconds === undefined) {
      await channels.call(methods.acknowledge, { subscription, ackIds }, { doing, signal });
    } else {
      const request = { subscription, ackIds, ackDeadlineSeconds: seconds };
      await channels.call(methods.modifyAckDeadline, request, { doing, signal });
    }
    return undefined;
  } catch (error) {
    return error instanceof DriverError ? error : new DriverError("UNKNOWN", doing, { cause: error });
  }
}

/** What an exactly-once subscription says about each id, in the details of the error. */
function answersOf(error: DriverError): Readonly<Record<string, string>> | undefined {
  if (!(error.cause instanceof Error) || !("metadata" in error.cause)) return undefined;
  const native = Object.assign(new GoogleError(error.message), error.cause);
  const { errorInfoMetadata } = GoogleError.parseGRPCStatusDetails(native);
  if (typeof errorInfoMetadata !== "object" || errorInfoMetadata === null) return undefined;
  const answers: Record<string, string> = {};
  for (const [id, answer] of Object.entries(errorInfoMetadata)) {
    if (typeof answer === "string" && /^(PERMANENT|TRANSIENT)_FAILURE/.test(answer)) answers[id] = answer;
  }
  return Object.keys(answers).length > 0 ? answers : undefined;
}
