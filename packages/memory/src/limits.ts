import { DriverError } from "@sluice/core/driver";
import type { Limits, SendItem } from "@sluice/core/driver";
import type { DriverErrorCode } from "@sluice/core/driver";

/** The broker's last line: core refuses the same earlier. `undefined` = within the limits. */
export function refuseByLimits(
  { record, notBefore }: SendItem,
  limits: Limits,
  wallMs: number,
): { readonly outcome: "not-stored"; readonly error: DriverError } | undefined {
  const { body, key, headers } = record;
  const names = Object.keys(headers);
  let headersBytes = 0;
  let longestName = 0;
  for (const name of names) {
    const nameBytes = Buffer.byteLength(name);
    longestName = Math.max(longestName, nameBytes);
    headersBytes += nameBytes + Buffer.byteLength(headers[name] ?? "");
  }
  const keyBytes = key === null ? 0 : typeof key === "string" ? Buffer.byteLength(key) : key.byteLength;
  return (
    above("TOO_LARGE", "body bytes", body?.byteLength ?? 0, limits.messageBytes) ??
    above("INVALID_MESSAGE", "headers", names.length, limits.headers) ??
    above("INVALID_MESSAGE", "bytes of a header name", longestName, limits.headerNameBytes) ??
    above("TOO_LARGE", "bytes of headers", headersBytes, limits.headersBytes) ??
    above("INVALID_MESSAGE", "key bytes", keyBytes, limits.keyBytes) ??
    above("INVALID_MESSAGE", "milliseconds of delay", notBefore === undefined ? 0 : notBefore - wallMs, limits.delayMs)
  );
}

function above(code: DriverErrorCode, what: string, actual: number, limit: number) {
  if (actual <= limit) return undefined;
  const error = new DriverError(code, `memory: the record has ${actual} ${what}, the limit is ${limit}; send less`);
  return { outcome: "not-stored" as const, error };
}
