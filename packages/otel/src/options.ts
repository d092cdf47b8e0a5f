import type { Attributes } from "@opentelemetry/api";
import { type Duration, milliseconds, SluiceError } from "@sluice/core";

/** Options of `otel()`. */
export interface OtelOptions {
  /**
   * Whose children the spans of handlers are: of the message's (`creation`), or of nobody's (`link`), for queues in which messages
   * wait for days. They link to the message's span either way. @default 'creation'
   */
  readonly parent?: "creation" | "link";
  /** `sendBatch`: whether each message gets a span of its own; `false`: all carry that of the call. @default true */
  readonly createSpans?: boolean;
  /** How long the broker's answer about backlogs is good, so that frequent collection does not trouble it; `0` = never asked. @default '30s' */
  readonly backlogEvery?: Duration;
  /** Most topics and groups that metrics tell apart; what comes later is counted without names. @default 1000 */
  readonly most?: number;
  /** On every span and metric: `server.address`, a tenant. Few values. @default none */
  readonly attributes?: Attributes;
}

/** The same with every default in place. */
export interface Settings {
  readonly parent: "creation" | "link";
  readonly createSpans: boolean;
  readonly backlogEveryMs: number;
  readonly most: number;
  readonly attributes: Attributes;
}

/** @throws SluiceError `CONFIG` for an illegal option */
export function settingsOf(options: OtelOptions): Settings {
  const { parent = "creation", createSpans = true, backlogEvery = "30s", most = 1000, attributes = {} } = options;
  if (parent !== "creation" && parent !== "link") throw wrong("parent", parent, "'creation' or 'link'");
  if (typeof createSpans !== "boolean") throw wrong("createSpans", createSpans, "true or false");
  if (!Number.isInteger(most) || most < 0) throw wrong("most", most, "a whole number from 0");
  if (typeof attributes !== "object" || attributes === null || Array.isArray(attributes)) {
    throw wrong("attributes", attributes, "an object of names and values");
  }
  for (const [name, value] of Object.entries(attributes)) {
    // n.b. the SDK drops others with a line in its own log, which nobody sees.
    if (name === "" || !isValue(value)) {
      throw wrong(`attributes.${name}`, value, "a text, a number, a boolean, or a list of one of these");
    }
  }
  const backlogEveryMs = milliseconds(backlogEvery, "backlogEvery of otel");
  return { parent, createSpans, backlogEveryMs, most, attributes };
}

function isValue(value: unknown): boolean {
  if (value === undefined) return true;
  const parts: readonly unknown[] = Array.isArray(value) ? value : [value];
  const [type = "string", ...others] = new Set(parts.map((part) => typeof part));
  return others.length === 0 && ["string", "number", "boolean"].includes(type);
}

function wrong(option: string, value: unknown, wanted: string): SluiceError {
  const shown = typeof value === "string" ? JSON.stringify(value) : String(value);
  return new SluiceError("CONFIG", `otel: ${option} is ${shown}; give ${wanted}`);
}
