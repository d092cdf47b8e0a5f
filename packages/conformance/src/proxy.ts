import { connect, createServer, type Server, type Socket } from "node:net";
import { after, monotonicMs } from "./clock.ts";
import type { Address } from "./harness.ts";

/** What happens to bytes of one direction. The names follow Toxiproxy's toxics. */
export type Rule =
  | { readonly kind: "pass" }
  | { readonly kind: "delay"; readonly ms: number; readonly jitterMs?: number }
  | { readonly kind: "limit"; readonly bytesPerSecond: number }
  /** Swallowed; the socket stays open: a half-open connection. */
  | { readonly kind: "blackhole" };

export type Direction = "toBroker" | "toClient";

const pass: Rule = { kind: "pass" };

interface Pair {
  readonly client: Socket;
  readonly broker: Socket;
}

/** A TCP proxy whose rules also hit connections that exist already. */
export class FaultProxy {
  /** Connections that were accepted so far. */
  accepted = 0;
  /** Bytes that fell into a black hole so far. */
  swallowed = 0;
  readonly #upstream: Address;
  readonly #pairs = new Set<Pair>();
  readonly #rules: Record<Direction, Rule> = { toBroker: pass, toClient: pass };
  #server: Server | undefined;
  #address: Address = { host: "127.0.0.1", port: 0 };

  private constructor(upstream: Address) {
    this.#upstream = upstream;
  }

  /** Listens on a free loopback port, or on `port` where the broker must advertise it. */
  static async open(upstream: Address, port = 0): Promise<FaultProxy> {
    const proxy = new FaultProxy(upstream);
    await proxy.#listen(port);
    return proxy;
  }

  /** Where clients connect to. */
  get address(): Address {
    return this.#address;
  }

  /** Connections that are open now. */
  get open(): number {
    return this.#pairs.size;
  }

  /** Sets the rule of one direction, or of both. */
  rule(rule: Rule, direction?: Direction): void {
    if (direction !== "toClient") this.#rules.toBroker = rule;
    if (direction !== "toBroker") this.#rules.toClient = rule;
  }

  /** Ends every open connection with RST. */
  reset(): void {
    for (const { client, broker } of this.#pairs) {
      client.resetAndDestroy();
      broker.resetAndDestroy();
    }
  }

  /** Takes no new connection until {@link accept}; open ones stay. */
  async refuse(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    // n.b. close() waits for open connections, which stay on purpose: the port is free as soon as it returns.
    server?.close();
    await Promise.resolve();
  }

  /** Takes connections again, on the same port. */
  async accept(): Promise<void> {
    if (!this.#server) await this.#listen(this.#address.port);
  }

  /** Everything passes again. */
  async heal(): Promise<void> {
    this.rule(pass);
    await this.accept();
  }

  async close(): Promise<void> {
    this.reset();
    await this.refuse();
  }

  async #listen(port: number): Promise<void> {
    const server = createServer((client) => this.#join(client));
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(port, this.#address.host, resolve);
    });
    const bound = server.address();
    if (bound === null || typeof bound === "string") throw new Error("conformance: the proxy got no port");
    this.#address = { host: this.#address.host, port: bound.port };
    this.#server = server;
  }

  #join(client: Socket): void {
    this.accepted++;
    const broker = connect({ host: this.#upstream.host, port: this.#upstream.port });
    const pair: Pair = { client, broker };
    this.#pairs.add(pair);
    for (const socket of [client, broker]) {
      socket.setNoDelay(true);
      socket.on("error", () => {}); // `close` follows, and ends the other side.
    }
    client.on("close", () => broker.destroy());
    broker.on("close", () => {
      client.destroy();
      this.#pairs.delete(pair);
    });
    this.#pump(client, broker, "toBroker");
    this.#pump(broker, client, "toClient");
  }

  #pump(from: Socket, to: Socket, direction: Direction): void {
    // One line per direction: two timers that are due together may fire in any order, and bytes must not.
    const line: { readonly chunk: Buffer; readonly due: number }[] = [];
    let last = 0;
    let waiting = false;
    let ended = false;
    const forward = () => {
      waiting = false;
      for (let head = line[0]; head && head.due <= monotonicMs(); head = line[0]) {
        line.shift();
        write(from, to, head.chunk);
      }
      const [next] = line;
      if (next) {
        waiting = true;
        after(Math.max(1, next.due - monotonicMs()), forward);
      } else if (ended) to.end();
    };
    from.on("data", (chunk: Buffer) => {
      const rule = this.#rules[direction];
      if (rule.kind === "blackhole") {
        this.swallowed += chunk.length;
        return;
      }
      const now = monotonicMs();
      const start = rule.kind === "limit" ? Math.max(last, now) : now;
      last = Math.max(last, start + waitOf(rule, chunk.length));
      line.push({ chunk, due: last });
      if (!waiting) forward();
    });
    from.on("end", () => {
      ended = true;
      if (line.length === 0) to.end();
    });
  }
}

function waitOf(rule: Rule, bytes: number): number {
  if (rule.kind === "delay") return rule.ms + (rule.jitterMs ?? 0) * Math.random();
  if (rule.kind === "limit") return (bytes / rule.bytesPerSecond) * 1000;
  return 0;
}

function write(from: Socket, to: Socket, chunk: Buffer): void {
  if (to.destroyed || to.writableEnded) return;
  if (to.write(chunk)) return;
  from.pause();
  to.once("drain", () => from.resume());
}
