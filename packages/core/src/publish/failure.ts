import { fromDriver } from "../driver-failure.ts";
import type { DriverError } from "../driver/index.ts";
import { isSluiceError, SluiceError } from "../errors.ts";
import type { Entry } from "./entry.ts";

/** A driver's error as the caller sees it: in the driver's own words. */
export function refused(entry: Entry, error: DriverError): SluiceError {
  return fromDriver(error, outcomeOf(entry));
}

/** Why an item failed that no driver ended: the deadline, the caller's signal, or the end of the queue. */
export function ended(
  driver: string,
  entry: Entry,
  why: "deadline" | "aborted" | "closed",
  nowMs: number,
  cause: unknown,
): SluiceError {
  const what = `${driver}: publishing message ${entry.item.record.id} to "${entry.item.to.topic}"`;
  const outcome = outcomeOf(entry);
  const waited = `after ${Math.round(nowMs - entry.enqueuedMs)} ms (${state(entry)})`;
  const options = { outcome, ...(cause === undefined ? {} : { cause }) };
  if (why === "closed") return new SluiceError("CLOSED", `${what} ended ${waited}: the bus is closed`, options);
  if (why === "aborted") return new SluiceError("ABORTED", `${what} was ended by its signal ${waited}`, options);
  if (entry.place !== "queue") {
    const help = "publish less at once, or raise publish.buffer of connect";
    return new SluiceError("BACKPRESSURE", `${what} found no room in the buffer ${waited}; ${help}`, options);
  }
  const { lastError } = entry;
  if (lastError && !entry.call) {
    const text = `${what} was tried ${entry.tries} times and given up ${waited}; the last answer: ${lastError.message}`;
    return new SluiceError(fromDriver(lastError).code, text, { outcome, cause: lastError });
  }
  return new SluiceError("TIMEOUT", `${what} was not confirmed ${waited}; ${advice(outcome)}`, options);
}

/** The queue got no sender and will get none: `cause` says why. */
export function unsendable(driver: string, entry: Entry, cause: unknown): SluiceError {
  const error = fromDriver(cause);
  const { id } = entry.item.record;
  const text = `${driver}: cannot publish message ${id} to "${entry.item.to.topic}": ${error.message}`;
  return new SluiceError(error.code, text, { outcome: outcomeOf(entry), cause });
}

/** The waiting line is full as well. */
export function overflow(driver: string, entry: Entry, waiting: number): SluiceError {
  const text =
    `${driver}: no room for message ${entry.item.record.id} to "${entry.item.to.topic}": the buffer is full and ${waiting} ` +
    `messages wait for room; publish less at once, or raise publish.buffer of connect`;
  return new SluiceError("BACKPRESSURE", text, { outcome: "not-stored" });
}

function outcomeOf(entry: Entry): "not-stored" | "unknown" {
  return entry.unknown || entry.call ? "unknown" : "not-stored";
}

function state(entry: Entry): string {
  if (entry.call) return "sent, unconfirmed";
  if (entry.place !== "queue") return "waiting for room";
  return entry.tries > 0 ? `tried ${entry.tries} times` : "not sent";
}

function advice(outcome: "not-stored" | "unknown"): string {
  return outcome === "unknown"
    ? "it may be stored: publish it again with the same id, so that consumers can tell the copy"
    : "see bus.health(), or give a longer deadline";
}

/** Nothing was sent, whatever made the error: a schema or an option that knows nothing of publishing. */
export function withOutcome(error: unknown): SluiceError {
  if (!isSluiceError(error)) {
    const reason = error instanceof Error ? error.message : String(error);
    const text = `sluice: publishing failed before anything was sent: ${reason}`;
    return new SluiceError("UNKNOWN", text, { outcome: "not-stored", cause: error });
  }
  if (error.outcome !== undefined) return error;
  const { code, message, cause, issues } = error;
  return new SluiceError(code, message, { outcome: "not-stored", issues, ...(cause === undefined ? {} : { cause }) });
}
