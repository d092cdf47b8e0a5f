import type { ProvisionMode, Runtime } from "./driver/index.ts";
import type { Duration } from "./duration.ts";
import type { Logger } from "./logger.ts";
import type { Middleware } from "./middleware.ts";

/** Options of `connect`. */
export interface ConnectOptions {
  /** Shown in the broker's own tools. @default 'sluice' */
  readonly clientName?: string;
  /** `create` makes what is missing; `verify` refuses to start without it; `assume` looks at nothing. @default 'create' */
  readonly provision?: ProvisionMode;
  /** @default silent */
  readonly logger?: Logger;
  /** Around every publish, delivery and attempt of this bus, outermost first. @default none */
  readonly middleware?: Middleware;
  readonly publish?: {
    /** Until the broker must have confirmed a publish. @default '30s' */
    readonly deadline?: Duration;
    /** Bound on what is published and unconfirmed; beyond it `publish` waits. */
    readonly buffer?: {
      /** @default 10000 */
      readonly messages?: number;
      /** @default 64 MiB */
      readonly bytes?: number;
    };
  };
  /** Clock, timers and randomness; give a simulated one in tests. @default the process's own */
  readonly runtime?: Runtime;
  /** Ends the attempt to connect. */
  readonly signal?: AbortSignal;
}

/** Options of `bus.run`. */
export interface RunOptions {
  /** Signals of the process that begin the drain; the second one ends it at once. @default ['SIGTERM', 'SIGINT'] */
  readonly signals?: readonly NodeJS.Signals[];
  /** How long running handlers may take. @default '25s' */
  readonly deadline?: Duration;
}
