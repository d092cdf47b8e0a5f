import { untilAborted } from "./abort.ts";
import { Backoff } from "./backoff.ts";
import type { Declarations } from "./declarations.ts";
import { fromDriver } from "./driver-failure.ts";
import {
  type Connection,
  type Driver,
  DriverError,
  type DriverEvent,
  type Finding,
  type ProvisionMode,
  type Resource,
  type Runtime,
  type Sender,
  sleep,
} from "./driver/index.ts";
import { isSluiceError, SluiceError } from "./errors.ts";
import { ResourceOwners } from "./resource-owners.ts";

export interface ConnectionKeeperOptions {
  readonly driver: Driver;
  readonly runtime: Runtime;
  readonly clientName: string;
  readonly provision: ProvisionMode;
  readonly declarations: Declarations;
  report(event: DriverEvent): void;
  state(state: "open" | "reconnecting" | "closed", error: unknown): void;
  warn(finding: Finding): void;
}

/** How long one attempt to connect may take. */
const connectMs = 10_000;
/** A connection that lived so long was a good one: the next one is opened soon. */
const goodMs = 5000;

/**
 * The bus's connection: opened once, opened again with back-off whenever it failed, closed once. A new connection gets the whole
 * declared topology before anybody sends or receives on it.
 */
export class ConnectionKeeper {
  readonly #options: ConnectionKeeperOptions;
  readonly #closing = new AbortController();
  readonly #backoff: Backoff;
  #connection: Connection | undefined;
  #opening: Promise<Connection> | undefined;
  #sender: Promise<Sender> | undefined;
  /** Resources known to be there, on this connection. */
  #provisioned = new Set<string>();
  #provisioning: Promise<void> = Promise.resolve();
  readonly #owners: ResourceOwners;

  constructor(options: ConnectionKeeperOptions) {
    this.#options = options;
    this.#backoff = new Backoff(options.runtime, 100, 30_000);
    this.#owners = new ResourceOwners(options.driver);
  }

  /** The open connection; `undefined` while there is none. */
  get current(): Connection | undefined {
    return this.#connection;
  }

  get closed(): boolean {
    return this.#closing.signal.aborted;
  }

  /** The first connection: one attempt, so that a wrong address or password is seen at once. */
  async open(signal: AbortSignal | undefined): Promise<Connection> {
    try {
      return await this.#connect(signal);
    } catch (error) {
      throw fromDriver(error);
    }
  }

  /** The open connection, or the next one. Rejects with `CLOSED` once the bus is closed, with `ABORTED` by the signal. */
  connection(signal?: AbortSignal): Promise<Connection> {
    const { name } = this.#options.driver;
    if (this.closed) return Promise.reject(closedError(name));
    if (this.#connection) return Promise.resolve(this.#connection);
    this.#opening ??= this.#reopen();
    return signal ? orAborted(this.#opening, signal, name) : this.#opening;
  }

  async #reopen(): Promise<Connection> {
    for (;;) {
      await sleep(this.#options.runtime, this.#backoff.next(), this.#closing.signal);
      if (this.closed) throw closedError(this.#options.driver.name);
      try {
        return await this.#connect(undefined);
      } catch (error) {
        if (this.closed) throw closedError(this.#options.driver.name);
        this.#options.state("reconnecting", error);
      }
    }
  }

  async #connect(signal: AbortSignal | undefined): Promise<Connection> {
    const { driver, runtime, clientName } = this.#options;
    const limit = new AbortController();
    const abort = () => limit.abort();
    const cancel = runtime.timer(connectMs, abort);
    for (const source of [signal, this.#closing.signal]) source?.addEventListener("abort", abort, { once: true });
    try {
      const connection = await driver.connect({
        runtime,
        signal: limit.signal,
        clientName,
        report: (event) => this.#options.report(event),
      });
      if (this.closed) {
        // It came too late: nobody would ever close it.
        void connection.close(limit.signal).catch(() => undefined);
        throw closedError(driver.name);
      }
      this.#adopt(connection);
      return connection;
    } finally {
      cancel();
      for (const source of [signal, this.#closing.signal]) source?.removeEventListener("abort", abort);
    }
  }

  #adopt(connection: Connection): void {
    const { runtime } = this.#options;
    const openedMs = runtime.monotonicMs();
    this.#connection = connection;
    this.#opening = undefined;
    this.#provisioned = new Set();
    this.#options.state("open", undefined);
    void connection.closed.then((error) => {
      if (this.#connection !== connection) return;
      this.#connection = undefined;
      this.#sender = undefined;
      if (this.closed) return;
      if (runtime.monotonicMs() - openedMs > goodMs) this.#backoff.reset();
      this.#options.state("reconnecting", error);
      // Also when nobody asks: a service that is not ready gets no work, and would never ask.
      this.connection().catch(() => undefined);
    });
  }

  /** The live sender, or the next one, with the topology in place. */
  sender(): Promise<Sender> {
    if (this.#sender) return this.#sender;
    const opening = this.#openSender();
    this.#sender = opening;
    const forget = () => {
      if (this.#sender === opening) this.#sender = undefined;
    };
    opening.then((sender) => sender.closed.then(forget), forget);
    return opening;
  }

  async #openSender(): Promise<Sender> {
    const connection = await this.connection();
    try {
      await this.provision(connection);
    } catch (error) {
      // One topic that is wrong must not stop the others: its own publishes and subscriptions are told when they use it.
      if (!isSluiceError(error) && (!(error instanceof DriverError) || error.retryable)) throw error;
    }
    return connection.sender();
  }

  /**
   * Makes or checks what is declared (for these topics) and not yet known to be there.
   * @throws SluiceError `NOT_FOUND`, `MISMATCH` or `FORBIDDEN`, naming every resource
   */
  provision(connection: Connection, topics?: readonly string[]): Promise<void> {
    const next = this.#provisioning.catch(() => undefined).then(() => this.#provision(connection, topics));
    this.#provisioning = next;
    return next;
  }

  async #provision(connection: Connection, topics: readonly string[] | undefined): Promise<void> {
    const { driver, provision: mode, declarations } = this.#options;
    if (connection !== this.#connection) return;
    const missing = new Map<string, Resource>();
    const declaration = declarations.snapshot(topics);
    this.#owners.claim(declaration);
    for (const resource of driver.topology(declaration)) {
      const name = `${resource.kind} ${resource.name} ${JSON.stringify(resource.settings)}`;
      if (!this.#provisioned.has(name)) missing.set(name, resource);
    }
    if (missing.size === 0) return;
    const known = this.#provisioned;
    if (mode !== "assume") {
      this.#judge(await connection.provision([...missing.values()], mode, this.#closing.signal), mode);
    }
    for (const name of missing.keys()) known.add(name);
  }

  #judge(findings: readonly Finding[], mode: ProvisionMode): void {
    const bad = findings.filter((finding) => finding.state !== "ok" && finding.state !== "created");
    for (const finding of bad.filter((one) => one.state === "loses-data")) this.#options.warn(finding);
    const fatal = bad.filter((finding) => finding.state !== "loses-data");
    const first = fatal[0];
    if (!first) return;
    const codes = { missing: "NOT_FOUND", differs: "MISMATCH", forbidden: "FORBIDDEN" } as const;
    const code = codes[first.state as keyof typeof codes];
    const lines = fatal.map(({ resource, detail }) => `${resource.kind} "${resource.name}": ${detail}`);
    const advice = { create: "", verify: "; create it, or connect with provision: 'create'", assume: "" }[mode];
    throw new SluiceError(
      code,
      `${this.#options.driver.name}: ${lines.join("; ")}${code === "NOT_FOUND" ? advice : ""}`,
    );
  }

  /** Something that was there has gone: check everything again before the next use. */
  forgetProvisioned(): void {
    this.#provisioned = new Set();
  }

  async close(signal: AbortSignal): Promise<void> {
    this.#closing.abort();
    const connection = this.#connection;
    const sender = this.#sender;
    this.#connection = undefined;
    this.#sender = undefined;
    // One that is still being opened ends with the connection.
    if (sender)
      await untilAborted(
        signal,
        sender.then((open) => open.close(signal)),
      );
    await connection?.close(signal).catch(() => undefined);
    this.#options.state("closed", undefined);
  }
}

function closedError(driver: string): SluiceError {
  return new SluiceError("CLOSED", `${driver}: the bus is closed`, { outcome: "not-stored" });
}

async function orAborted(opening: Promise<Connection>, signal: AbortSignal, driver: string): Promise<Connection> {
  await untilAborted(signal, opening);
  if (signal.aborted) throw new SluiceError("ABORTED", `${driver}: aborted while waiting for a connection`);
  return opening;
}
