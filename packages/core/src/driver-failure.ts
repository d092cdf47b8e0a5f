import { DriverError } from "./driver/index.ts";
import { isSluiceError, SluiceError, type ErrorCode } from "./errors.ts";

/** The one place where a driver's error becomes the caller's. Codes are the same, but for what only drivers say. */
export function fromDriver(error: unknown, outcome?: "not-stored" | "unknown"): SluiceError {
  if (isSluiceError(error)) return error;
  if (!(error instanceof DriverError)) {
    const text = error instanceof Error ? error.message : String(error);
    return new SluiceError("UNKNOWN", text, { cause: error, ...(outcome ? { outcome } : {}) });
  }
  const code: ErrorCode = error.code === "LOST" ? "UNAVAILABLE" : error.code;
  return new SluiceError(code, error.message, { cause: error, ...(outcome ? { outcome } : {}) });
}
