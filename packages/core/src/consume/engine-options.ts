import type { Capabilities, Runtime } from "../driver/index.ts";
import type { SettledFate } from "../events.ts";
import type { AnyTopic } from "../topic.ts";
import type { Mover } from "./mover.ts";
import type { RunnerOptions } from "./runner.ts";
import type { Settings } from "./settings.ts";
import type { Work } from "./work.ts";

export interface EngineOptions extends Pick<RunnerOptions, "host" | "decode" | "run" | "delivery"> {
  readonly runtime: Runtime;
  readonly settings: Settings;
  readonly capabilities: Capabilities;
  readonly topics: ReadonlyMap<string, AnyTopic>;
  readonly settleBatch: number;
  /** Longest delay that the broker can keep a message back; 0 = none. */
  readonly delayMs: number;
  readonly mover: Mover;
  /** There is room for more. */
  room(): void;
  settled(work: Work, fate: SettledFate, reason: string | undefined, error: unknown): void;
  failed(work: Work, error: unknown, waitMs: number): void;
  stuck(work: Work, kind: "timeout" | "stuck" | "late"): void;
}
