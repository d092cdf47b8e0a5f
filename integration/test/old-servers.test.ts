// Servers of long ago, which nobody can install any more: stand-ins that answer as they did. They prove the check, not the old servers.
import { createServer, type Socket } from "node:net";
import { connect } from "@sluice/core";
import { kafka } from "@sluice/kafka";
import { redis, redisPubsub } from "@sluice/redis";
import { expect, onTestFinished, test } from "vitest";

async function serve(onData: (socket: Socket, data: Buffer, port: number) => void): Promise<number> {
  const sockets = new Set<Socket>();
  let port = 0;
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    socket.on("data", (data) => onData(socket, data, port));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const bound = server.address();
  if (bound === null || typeof bound === "string") throw new Error("the server has no port");
  port = bound.port;
  return port;
}

const int16 = (value: number): Buffer => {
  const bytes = Buffer.alloc(2);
  bytes.writeInt16BE(value);
  return bytes;
};
const int32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value);
  return bytes;
};
const text = (value: string): Buffer => Buffer.concat([int16(value.length), Buffer.from(value)]);

/** Kafka 0.10.2: key, oldest and newest version of what it took. */
const kafka010 = [
  [0, 0, 2],
  [1, 0, 3],
  [2, 0, 1],
  [3, 0, 2],
  [8, 0, 2],
  [9, 0, 2],
  [10, 0, 0],
  [11, 0, 1],
  [12, 0, 0],
  [13, 0, 0],
  [14, 0, 0],
  [15, 0, 0],
  [16, 0, 0],
  [17, 0, 0],
  [18, 0, 0],
  [19, 0, 1],
  [20, 0, 1],
] as const;
const [metadata, apiVersions, unsupportedVersion] = [3, 18, 35];

function answerKafka(request: Buffer, port: number): Buffer | undefined {
  const [api, version] = [request.readInt16BE(4), request.readInt16BE(6)];
  if (api === apiVersions) {
    const list = kafka010.map((row) => Buffer.concat(row.map(int16)));
    return Buffer.concat([int16(version === 0 ? 0 : unsupportedVersion), int32(list.length), ...list]);
  }
  if (api !== metadata) return undefined;
  const broker = Buffer.concat([int32(1), text("127.0.0.1"), int32(port), int16(-1)]);
  const cluster = version >= 2 ? text("old") : Buffer.alloc(0);
  return Buffer.concat([int32(1), broker, cluster, int32(1), int32(0)]);
}

test("Kafka 0.10 is refused, with what it lacks and what to use", async () => {
  const port = await serve((socket, data, own) => {
    const body = answerKafka(data, own);
    if (body) socket.write(Buffer.concat([int32(4 + body.length), data.subarray(8, 12), body]));
  });
  await expect(connect(kafka({ brokers: [`127.0.0.1:${port}`] }))).rejects.toMatchObject({
    code: "UNSUPPORTED",
    message: expect.stringMatching(
      /^kafka: 127\.0\.0\.1:\d+ speaks the protocol of Apache Kafka older than 0\.11 \(Produce up to version 2, not 3\); use 3\.9 or newer$/,
    ),
  });
});

/** What Redis 6.2 says of itself, and "OK" to everything else. */
function answerRedis(command: string): string {
  const info = "# Server\r\nredis_version:6.2.14\r\nredis_mode:standalone\r\nloading:0\r\n";
  if (/\binfo\b/i.test(command)) return `$${info.length}\r\n${info}\r\n`;
  return /\bping\b/i.test(command) ? "+PONG\r\n" : "+OK\r\n";
}

test.each([
  ["redis", (url: string) => connect(redis({ url }))],
  ["sharded redisPubsub", (url: string) => connect(redisPubsub({ url, sharded: true }))],
] as const)("%s: Redis 6.2 is refused by its version, with what to use", async (_name, open) => {
  const port = await serve((socket, data) => {
    const commands = data.toString().split(/(?=\*\d+\r\n)/);
    socket.write(commands.map(answerRedis).join(""));
  });
  await expect(open(`redis://127.0.0.1:${port}`)).rejects.toMatchObject({
    code: "UNSUPPORTED",
    message: expect.stringMatching(/Redis 6\.2\.14; use Redis 7\.0, Valkey 7\.2, or newer/),
  });
});
