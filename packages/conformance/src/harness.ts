import type { Driver } from "@sluice/core/driver";

/** What stands behind the driver. Only `service` and `broker` results say something about the broker itself. */
export type EnvironmentKind = "service" | "broker" | "emulator" | "fake";

/** `host:port`. */
export interface Address {
  readonly host: string;
  readonly port: number;
}

/** Where a proxy has to connect to. */
interface Upstream extends Address {
  /** The port that the proxy itself has to listen on: where clients follow the address that the broker states, it states this one. */
  readonly listen?: number;
}

/** A driver that differs from the usual one, for faults and negative cases. */
export interface DriverVariant {
  /** Connect here instead: a proxy, a closed port, another protocol. */
  readonly via?: Address;
  /**
   * `wrong`: a wrong password; the text must never appear in an error, a log or an event. `powerless`: the right password of
   * somebody who may connect, and may neither make nor write nor read anything; only where {@link Harness.powerless}.
   */
  readonly credentials?: "wrong" | "powerless";
}

/** The wrong password that {@link DriverVariant.credentials} must use. */
export const wrongSecret = "wrong-secret-7f3a91";

/** A message as the native client sees it. Header values that are not text stay bytes. */
export interface RawRecord {
  readonly key?: Uint8Array | string | null;
  readonly body: Uint8Array | null;
  readonly headers?: Readonly<Record<string, string | Uint8Array>>;
  /** Reading only, where the broker has a field of its own for it: else the kit looks for a header. */
  readonly id?: string;
  /** The same. */
  readonly contentType?: string;
}

/** What some wires cannot carry, whoever writes: the kit leaves such foreign messages out. */
export type RawShape = "key" | "headers" | "binary-headers" | "binary-body" | "empty-body" | "null-body";

/** Reads a topic beside all groups, from the moment it was opened. */
export interface RawReader {
  /** Resolves with `count` records, or with fewer when `ms` passed. */
  read(count: number, ms: number): Promise<readonly RawRecord[]>;
  close(): Promise<void>;
}

/**
 * The native client, never the adapter: without it an adapter would mark its own homework. Everything it counts is counted in
 * full; the kit checks that before every run (three in, three out).
 */
export interface RawClient {
  /** What no foreign program can write on this wire. @default nothing: all of it can be written */
  readonly lacks?: readonly RawShape[];
  /** Writes to an existing topic as a foreign producer would, without any header of Sluice. */
  produce(topic: string, records: readonly RawRecord[]): Promise<void>;
  /** Watches an existing topic. What is sent after this resolved is read. */
  consume(topic: string): Promise<RawReader>;
  /** All dead letters of a group, without taking them. */
  deadLetters(topic: string, group: string): Promise<readonly RawRecord[]>;
  /** Everything that the group has not settled: waiting, handed out, and in its own entry; not delayed, not dead letters. */
  depth(topic: string, group: string): Promise<number>;
  close(): Promise<void>;
}

/** What the fault profile may do to the broker. Each resolves when the broker answers again. */
export interface BrokerControl {
  /** Orderly stop and start, with its data. `downMs`: how long it stays away. */
  restart(downMs: number): Promise<void>;
  /** The same with SIGKILL. */
  kill(downMs: number): Promise<void>;
}

/** Numbers of the environment, not of the adapter: everything that waits derives its limits from these. */
export interface Timing {
  /** Longest time after which a dead holder's messages come back. */
  readonly leaseMs: number;
  /** Longest time from the end of a fault to the next effect. Also the idle limit of every wait. */
  readonly recoveryMs: number;
  /** How long "nothing comes" is watched where no sentinel can bound it. */
  readonly quietMs: number;
  /** How late a delayed message may come after a restart of the broker, beside `recoveryMs`. @default 0 */
  readonly delayedLateMs?: number;
}

/** A known defect: the case runs, may fail until `expires`, and must not pass. */
export interface Waiver {
  readonly issue: string;
  /** `2027-02-01`: from this day on the waiver is ignored. */
  readonly expires: string;
}

/** One broker in one environment, as the kit needs it. The module that default-exports it is loaded by child processes too. */
export interface Harness {
  /** The adapter's package: `@sluice/kafka`. */
  readonly adapter: string;
  readonly environment: {
    readonly kind: EnvironmentKind;
    /** `kafka`, `rabbitmq`, `memory`. */
    readonly name: string;
    /** Stated by who started it; the report also holds what the server itself says. */
    readonly version?: string;
    /** `native`, `containers`, `external`, `embedded`. */
    readonly provider?: string;
    /** `false`: a restart empties it, so that cases which restart it are skipped for the environment. @default true */
    readonly keepsData?: boolean;
    /** `false`: what a dead holder had comes again after later messages of its key, unlike with the service. @default true */
    readonly redeliversInOrder?: boolean;
  };
  /** Versions of the client libraries under the adapter. */
  readonly clients: Readonly<Record<string, string>>;
  /** A new driver. */
  driver(variant?: DriverVariant): Driver;
  raw(): Promise<RawClient>;
  readonly timing: Timing;
  /** Absent: no proxy can be put in between. */
  readonly upstream?: Upstream;
  readonly control?: BrokerControl;
  /**
   * Only for a broker inside this process, where killing a process would kill the broker: cuts the connections of this client
   * as its death would. Kill cases then run their consumers and producers in this process.
   */
  crash?(clientName: string): void;
  /** The broker knows a user without rights: `credentials: "powerless"` works. Without it that case is skipped for the environment. */
  readonly powerless?: true;
  /** Environment variables for child processes, where those of this process would not lead them to the same broker. */
  readonly variables?: Readonly<Record<string, string>>;
  /** Cases that this environment cannot show, with the reason. Never a statement about the adapter. */
  readonly environmentSkips?: Readonly<Record<string, string>>;
  readonly waivers?: Readonly<Record<string, Waiver>>;
  /** Cases that run at once. @default 4 */
  readonly parallel?: number;
  /** Releases what the module holds (an embedded broker's sockets). */
  close?(): Promise<void>;
}

/** States a harness; gives it its type and nothing else. */
export function defineHarness(harness: Harness): Harness {
  return harness;
}

/** Imports a harness by its module path. @throws TypeError when the module does not default-export one. */
export async function loadHarness(url: string | URL): Promise<Harness> {
  const module = (await import(String(url))) as { readonly default?: Partial<Harness> };
  const harness = module.default;
  if (!harness || typeof harness.driver !== "function" || typeof harness.raw !== "function") {
    throw new TypeError(`conformance: ${String(url)} has no harness as its default export; use defineHarness({ … })`);
  }
  return harness as Harness;
}
