/**
 * The memory broker behind a socket: every send goes over it as a request with an answer, and a heartbeat notices silence. So
 * faults of the network mean the same here as on a real broker.
 */
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import type { Address } from "@sluice/conformance";
import { type ConnectContext, type Connection, type Driver, DriverError, type SendResult } from "@sluice/core/driver";
import type { MemoryBroker } from "@sluice/memory";
import { replace } from "./mutant.ts";

const heartbeatMs = 300;
const silenceMs = 3_000;

/** What the requests on the wire stand for: the records themselves need not be encoded. */
const requests = new Map<string, () => Promise<void>>();

const server = createServer((socket) => {
  socket.on("error", () => {});
  onLines(socket, (id) => {
    void requests
      .get(id)?.()
      .then(() => socket.destroyed || socket.write(`${id}\n`));
  });
});
await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
server.unref();

/** Where a proxy has to connect to. */
export const upstream: Address = { host: "127.0.0.1", port: (server.address() as AddressInfo).port };

function onLines(socket: Socket, take: (line: string) => void): void {
  let rest = "";
  socket.on("data", (chunk: Buffer) => {
    const lines = (rest + chunk.toString()).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) take(line);
  });
}

let made = 0;

/** One client's socket: asks, and fails everything that has no answer when it ends. */
class Line {
  readonly ended: Promise<void>;
  readonly #socket: Socket;
  readonly #waiting = new Map<string, (answered: boolean) => void>();

  constructor(socket: Socket) {
    this.#socket = socket;
    this.ended = new Promise((resolve) => socket.once("close", () => resolve()));
    void this.ended.then(() => {
      for (const answer of this.#waiting.values()) answer(false);
    });
    onLines(socket, (id) => this.#waiting.get(id)?.(true));
  }

  /** Lets the broker do it. Resolves to whether its answer came back. */
  ask(run: () => Promise<void>): Promise<boolean> {
    const id = `r${++made}`;
    requests.set(id, run);
    return new Promise((resolve) => {
      this.#waiting.set(id, (answered) => {
        requests.delete(id);
        this.#waiting.delete(id);
        resolve(answered);
      });
      if (this.#socket.destroyed) this.#waiting.get(id)?.(false);
      else this.#socket.write(`${id}\n`);
    });
  }

  cut(): void {
    this.#socket.destroy();
  }
}

/** Ends a line that does not answer any more. */
function watch(line: Line): void {
  let answered = Date.now();
  const timer = setInterval(() => {
    if (Date.now() - answered > silenceMs) line.cut();
    void line.ask(async () => {}).then((came) => came && (answered = Date.now()));
  }, heartbeatMs);
  timer.unref();
  void line.ended.then(() => clearInterval(timer));
}

async function dial({ host, port }: Address, signal: AbortSignal): Promise<Line> {
  const socket = connect({ host, port });
  const abort = () => socket.destroy();
  signal.addEventListener("abort", abort, { once: true });
  socket.on("error", () => {}); // `close` follows.
  const line = new Line(socket);
  const slow = setTimeout(abort, 9_000);
  const answered = await line.ask(async () => {});
  clearTimeout(slow);
  signal.removeEventListener("abort", abort);
  if (answered) return line;
  throw new DriverError("UNAVAILABLE", `memory: nothing answers at ${host}:${port}; check the address`);
}

/** The same driver, over a socket to `address`. `deaf`: without the heartbeat. */
export function overWire(driver: Driver, broker: MemoryBroker, address: Address, deaf = false): Driver {
  return {
    ...driver,
    async connect(context: ConnectContext) {
      const line = await dial(address, context.signal);
      if (!deaf) watch(line);
      const clientName = `${context.clientName}#${++made}`;
      const connection = await driver.connect({ ...context, clientName });
      void line.ended.then(() => broker.disconnect(clientName));
      void connection.closed.then(() => line.cut());
      return sendingOver(connection, line);
    },
  };
}

function sendingOver(connection: Connection, line: Line): Connection {
  return replace(connection, {
    async sender() {
      const sender = await connection.sender();
      return replace(sender, {
        async send(items, signal) {
          let results: readonly SendResult[] = [];
          const answered = await line.ask(async () => void (results = await sender.send(items, signal)));
          if (answered) return results;
          const error = new DriverError("UNAVAILABLE", "memory: the connection broke before the answer");
          return items.map(() => ({ outcome: "unknown", error }));
        },
      });
    },
  });
}
