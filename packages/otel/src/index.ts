export { otel } from "./otel.ts";
export type { OtelOptions, Telemetry } from "./otel.ts";
