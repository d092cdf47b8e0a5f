import type { Capabilities, Filter, Start } from "../driver/index.ts";
import { milliseconds } from "../duration.ts";
import { SluiceError } from "../errors.ts";
import { checkName, type AnyTopic } from "../topic.ts";
import type { SubscribeOptions } from "./options.ts";
import { type RetryPolicy, retryPolicy } from "./retry-policy.ts";

/** SubscribeOptions with every default filled in and checked. */
export interface Settings {
  /** Group, or the broadcast's name: what events and logs call it. */
  readonly name: string;
  readonly broadcast: boolean;
  readonly transactional: boolean;
  readonly ordered: boolean;
  readonly start: Start;
  readonly concurrency: number;
  readonly window: number;
  readonly windowBytes: number;
  readonly timeoutMs: number;
  readonly policy: RetryPolicy;
  readonly deadLetter: boolean;
  /** The filter as far as the broker does not do it. */
  readonly filter: Filter | undefined;
  readonly nativeFilter: Filter | undefined;
}

/**
 * @throws SluiceError `CONFIG` for an option that is wrong, `UNSUPPORTED` for one that the broker cannot keep, at the call
 */
export function settingsOf(
  driver: { readonly name: string; readonly capabilities: Capabilities },
  topics: readonly AnyTopic[],
  options: SubscribeOptions,
): Settings {
  const broadcast = options.broadcast !== undefined;
  const name = options.broadcast ?? options.group;
  if (name === undefined || (broadcast && options.group !== undefined)) {
    throw new SluiceError("CONFIG", "sluice: subscribe needs exactly one of group and broadcast");
  }
  checkName(broadcast ? "broadcast" : "group", name);
  const ordered = !broadcast && topics.some((topic) => topic.ordering === "key");
  checkCapabilities(driver, options, ordered);
  const concurrency = positive(options.concurrency ?? 16, "concurrency");
  const native = driver.capabilities.filter === "native";
  return {
    name,
    broadcast,
    transactional: options.transactional === true,
    ordered,
    start: options.start ?? "now",
    concurrency,
    window: positive(options.window ?? Math.max(256, 2 * concurrency), "window"),
    windowBytes: positive(options.windowBytes ?? 64 * 1024 * 1024, "windowBytes"),
    timeoutMs: milliseconds(options.timeout ?? "5m", "timeout"),
    policy: retryPolicy(options.retry, ordered),
    deadLetter: !broadcast && options.deadLetter !== false,
    filter: native ? undefined : options.filter,
    nativeFilter: native ? options.filter : undefined,
  };
}

function checkCapabilities(
  driver: { readonly name: string; readonly capabilities: Capabilities },
  options: SubscribeOptions,
  ordered: boolean,
): void {
  const { capabilities } = driver;
  const refuse = (what: string, instead: string): never => {
    throw new SluiceError("UNSUPPORTED", `${driver.name}: ${what} is not possible on this broker; ${instead}`);
  };
  if (options.transactional && capabilities.transactions === "absent") {
    refuse("transactional: true", "make the handler idempotent, and publish with context.publish");
  }
  if (options.group !== undefined && capabilities.group === "absent") refuse("a group", "use broadcast");
  if (options.broadcast !== undefined && capabilities.broadcast === "absent") refuse("a broadcast", "use a group");
  if (capabilities.delivery === "at-most-once" && options.delivery !== "at-most-once") {
    refuse("at-least-once delivery", "state delivery: 'at-most-once' if messages may be lost");
  }
  if (ordered && capabilities.ordered === "absent") refuse("order by key", "declare the topic with ordering: 'none'");
  if (options.filter && capabilities.filter === "absent") refuse("a header filter", "filter in the handler");
  if (options.start === "earliest" && capabilities.earliest === "absent") {
    refuse("start: 'earliest'", "name the group in the topic's groups, so that it exists before the first message");
  }
  if (options.group !== undefined && options.deadLetter !== false && capabilities.deadLetter === "absent") {
    refuse("a dead letter", "state deadLetter: false");
  }
}

function positive(value: number, name: string): number {
  if (Number.isInteger(value) && value > 0) return value;
  throw new SluiceError("CONFIG", `sluice: ${name} is ${value}; give a whole number, 1 or more`);
}
