export type { OtelOptions } from "./options.ts";
export { otel } from "./otel.ts";
export type { Telemetry } from "./otel.ts";
