import { createRequire } from "node:module";
import { createServer, type Socket } from "node:net";
import { dirname, join } from "node:path";

interface Methods {
  readonly ConnectionStart: number;
  readonly ConnectionStartOk: number;
  readonly ConnectionTune: number;
  readonly ConnectionOpen: number;
  readonly ConnectionOpenOk: number;
  readonly ConnectionClose: number;
  readonly ConnectionCloseOk: number;
  encodeMethod(method: number, channel: number, fields: object): Buffer;
}

// amqplib exports no encoder; this is the one that its connections use.
const require = createRequire(import.meta.url);
const methods = require(join(dirname(require.resolve("amqplib")), "lib", "defs.js")) as Methods;

export interface GreetingServer {
  readonly url: string;
  /** Sockets that are open now. */
  readonly open: () => number;
  close(): void;
}

/** A server that says who it is, lets everybody in, and can do nothing else. */
export async function greetingServer(version: string, product = "RabbitMQ"): Promise<GreetingServer> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    socket.on("error", () => {});
    greet(socket, { product, version });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  const port = typeof address === "object" ? address?.port : undefined;
  return {
    url: `amqp://127.0.0.1:${port}`,
    open: () => sockets.size,
    close: () => {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}

function greet(socket: Socket, serverProperties: object): void {
  const say = (method: number, fields: object) => void socket.write(methods.encodeMethod(method, 0, fields));
  let received = Buffer.alloc(0);
  let greeted = false;
  socket.on("data", (bytes) => {
    received = Buffer.concat([received, bytes]);
    if (!greeted && received.length >= 8) {
      greeted = true;
      received = received.subarray(8);
      const start = { versionMajor: 0, versionMinor: 9, mechanisms: "PLAIN", locales: "en_US", serverProperties };
      say(methods.ConnectionStart, { ...start, mechanisms: Buffer.from("PLAIN"), locales: Buffer.from("en_US") });
    }
    // Type, channel, size, then class and method, and a byte that ends the frame.
    while (greeted && received.length >= 7 && received.length >= 8 + received.readUInt32BE(3)) {
      const size = received.readUInt32BE(3);
      if (received[0] === 1) answer(received.readUInt32BE(7), say);
      received = received.subarray(8 + size);
    }
  });
}

function answer(method: number, say: (method: number, fields: object) => void): void {
  if (method === methods.ConnectionStartOk)
    say(methods.ConnectionTune, { channelMax: 10, frameMax: 8_192, heartbeat: 0 });
  if (method === methods.ConnectionOpen) say(methods.ConnectionOpenOk, { knownHosts: "" });
  if (method === methods.ConnectionClose) say(methods.ConnectionCloseOk, {});
}
