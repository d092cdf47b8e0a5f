import {
  type Bus,
  connect,
  type ConnectOptions,
  type Logger,
  topic,
  type Topic,
  type TopicOptions,
} from "@sluice/core";
import type { Connection, Driver } from "@sluice/core/driver";
import type { Facts, Metrics, Profile } from "./case.ts";
import { within } from "./clock.ts";
import type { DriverVariant, Harness, RawClient } from "./harness.ts";
import type { Journal, Ledger, WaitLimits } from "./ledger.ts";
import type { Item } from "./payload.ts";
import { nodeRuntime } from "./runtime.ts";
import { Supervisor } from "./supervisor.ts";

export type ItemTopic = Topic<Item, Item>;

export interface ContextParts {
  readonly id: string;
  readonly run: string;
  /** Which run of a case in this session: names of a repeated case differ. @default 1 */
  readonly round?: number;
  /** Of which profile the numbers of messages are. */
  readonly sizes: Profile;
  readonly harness: Harness;
  /** The harness's module path, for children. */
  readonly url: string;
  readonly facts: Facts;
  readonly raw: RawClient;
  readonly journal: Journal;
  readonly seed: number;
}

/** What a case works with. Everything opened through it is closed when the case ends, the newest first. */
export class CaseContext {
  readonly id: string;
  readonly run: string;
  readonly harness: Harness;
  readonly facts: Facts;
  readonly raw: RawClient;
  readonly journal: Journal;
  /** This process's ledger. */
  readonly ledger: Ledger;
  readonly metrics: Metrics = {};
  readonly supervisor: Supervisor;
  readonly #cleanups: (() => unknown)[] = [];
  readonly #random: () => number;
  readonly #round: number;
  readonly #sizes: Profile;
  #names = 0;

  constructor(parts: ContextParts) {
    this.id = parts.id;
    this.run = parts.run;
    this.#round = parts.round ?? 1;
    this.#sizes = parts.sizes;
    this.harness = parts.harness;
    this.facts = parts.facts;
    this.raw = parts.raw;
    this.journal = parts.journal;
    this.ledger = parts.journal.ledger();
    this.supervisor = new Supervisor(parts.url, parts.run, parts.journal, parts.harness.variables);
    this.#random = seededRandom(`${parts.seed} ${parts.id}`);
  }

  /** 0 ≤ x < 1, the same for the same seed and case. */
  random(): number {
    return this.#random();
  }

  /** The size for the selected profile, or the one whose sizes were asked for. */
  size(smoke: number, standard: number, fault: number = standard): number {
    return { smoke, standard, fault }[this.#sizes];
  }

  /** Limits of a wait for `count` messages. */
  limits(count = 0): WaitLimits {
    const { recoveryMs } = this.harness.timing;
    return { idleMs: recoveryMs, totalMs: 4 * recoveryMs + count * 10 };
  }

  /** A name that no other case and no other run uses. */
  name(what = "t"): string {
    return `c-${this.run}-${this.id.toLowerCase()}-${this.#round}${what}${++this.#names}`;
  }

  /** A fresh topic of the kit's own messages; keyed, and ordered only when asked. Without its groups where there are none. */
  topic(options: TopicOptions<Item, Item> = {}): ItemTopic {
    const groups = this.facts.capabilities.group === "absent" ? [] : (options.groups ?? []);
    return topic<Item>(this.name(), { shards: 4, ordering: "none", key: (item) => item.key, ...options, groups });
  }

  /** Opens a bus that is closed at the end of the case. */
  async connect(options: ConnectOptions = {}, variant?: DriverVariant): Promise<Bus> {
    const bus = await connect(this.harness.driver(variant), {
      clientName: `conformance-${this.id.toLowerCase()}`,
      logger: this.logger(),
      ...options,
    });
    this.cleanup(() => bus.close());
    return bus;
  }

  /** Opens a connection of the driver itself, below core. */
  async connection(variant?: DriverVariant): Promise<{ readonly driver: Driver; readonly connection: Connection }> {
    const driver = this.harness.driver(variant);
    const connection = await driver.connect({
      runtime: nodeRuntime,
      signal: AbortSignal.timeout(15_000),
      clientName: `conformance-${this.id.toLowerCase()}`,
      report: (event) => this.ledger.write("note", { detail: `${event.kind}: ${event.detail}` }),
    });
    this.cleanup(() => connection.close(AbortSignal.timeout(10_000)));
    return { driver, connection };
  }

  /** Warnings and errors go to the ledger. */
  logger(): Logger {
    const note = (level: string) => (fields: object, message: string) =>
      this.ledger.write("note", { detail: `${level} ${message} ${inspectFields(fields)}` });
    return { debug: () => {}, info: () => {}, warn: note("warn"), error: note("error") };
  }

  cleanup(run: () => unknown): void {
    this.#cleanups.push(run);
  }

  /** Closes everything; resolves to what failed. */
  async close(): Promise<readonly unknown[]> {
    const problems: unknown[] = [];
    for (const run of this.#cleanups.toReversed()) {
      // One that hangs has taken the patience of all.
      const limitMs = problems.length > 0 ? 1_000 : 3_000 + 2 * this.harness.timing.recoveryMs;
      try {
        await within(limitMs, "closing what the case opened", Promise.resolve(run()));
      } catch (error) {
        problems.push(error);
      }
    }
    await this.supervisor.close();
    this.journal.close();
    return problems;
  }
}

function inspectFields(fields: object): string {
  const { error } = fields as { readonly error?: unknown };
  return error instanceof Error ? `${error.name}: ${error.message}` : JSON.stringify(fields);
}

/** A small generator (mulberry32) whose series depends only on the text. */
export function seededRandom(text: string): () => number {
  let state = 2166136261;
  for (const character of text) state = Math.imul(state ^ (character.codePointAt(0) ?? 0), 16777619);
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}
