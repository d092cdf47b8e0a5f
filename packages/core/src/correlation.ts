import type { Context } from "./context.ts";
import type { PublishOptions } from "./publish/options.ts";

/** Headers that go on from a message to what its handler publishes. */
const carried = ["traceparent", "tracestate", "baggage"];

/**
 * `correlation-id` names the whole flow and is copied on (the first message's id begins it); `causation-id` is the id of the
 * direct cause; trace context goes on as it came. What the caller sets wins.
 */
export function withCause(options: PublishOptions | undefined, cause: Context): PublishOptions {
  const { headers, id } = cause.message;
  const joined: Record<string, string> = {
    "correlation-id": headers["correlation-id"] ?? id,
    "causation-id": id,
  };
  for (const name of carried) {
    const value = headers[name];
    if (value !== undefined) joined[name] = value;
  }
  return { ...options, headers: { ...joined, ...options?.headers } };
}
