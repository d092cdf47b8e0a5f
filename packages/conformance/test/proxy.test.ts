import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";
import { afterEach, beforeEach, describe, test } from "vitest";
import { monotonicMs } from "../src/clock.ts";
import { FaultProxy } from "../src/proxy.ts";

/** A server that sends back what it gets. */
async function openEcho(): Promise<{ server: Server; port: number }> {
  const server = createServer((socket) => {
    socket.on("error", () => {});
    socket.pipe(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const bound = server.address();
  assert.ok(bound !== null && typeof bound === "object");
  return { server, port: bound.port };
}

describe("the fault proxy", () => {
  let echo: Awaited<ReturnType<typeof openEcho>>;
  let proxy: FaultProxy;
  const sockets: Socket[] = [];

  beforeEach(async () => {
    echo = await openEcho();
    proxy = await FaultProxy.open({ host: "127.0.0.1", port: echo.port });
  });

  afterEach(async () => {
    for (const socket of sockets.splice(0)) socket.destroy();
    await proxy.close();
    echo.server.close();
  });

  async function dial(): Promise<Socket> {
    const socket = connect(proxy.address);
    sockets.push(socket);
    socket.on("error", () => {});
    await once(socket, "connect");
    return socket;
  }

  async function roundTrip(socket: Socket, text: string): Promise<string> {
    socket.write(text);
    const [chunk] = (await once(socket, "data")) as [Buffer];
    return chunk.toString();
  }

  test("passes bytes both ways", async () => {
    const socket = await dial();
    assert.equal(await roundTrip(socket, "hello"), "hello");
    assert.equal(proxy.accepted, 1);
  });

  test("delays, also on a connection that exists", async () => {
    const socket = await dial();
    await roundTrip(socket, "warm");
    proxy.rule({ kind: "delay", ms: 60 }, "toClient");
    const before = monotonicMs();
    await roundTrip(socket, "slow");
    assert.ok(monotonicMs() - before >= 55);
  });

  test("limits the rate", async () => {
    const socket = await dial();
    proxy.rule({ kind: "limit", bytesPerSecond: 10_000 }, "toBroker");
    const before = monotonicMs();
    await roundTrip(socket, "x".repeat(1_000));
    assert.ok(monotonicMs() - before >= 90);
  });

  test("swallows in a black hole, and passes again when healed", async () => {
    const socket = await dial();
    await roundTrip(socket, "before");
    proxy.rule({ kind: "blackhole" }, "toBroker");
    socket.write("swallowed");
    while (proxy.swallowed < "swallowed".length) await new Promise((resolve) => setImmediate(resolve));
    await proxy.heal();
    assert.equal(await roundTrip(socket, "after"), "after");
  });

  test("resets open connections", async () => {
    const socket = await dial();
    await roundTrip(socket, "before");
    const closed = new Promise((resolve) => socket.once("close", resolve));
    proxy.reset();
    await closed;
    assert.equal(socket.destroyed, true);
  });

  test("refuses new connections and takes them again on the same port", async () => {
    const { port } = proxy.address;
    const kept = await dial();
    await roundTrip(kept, "before");
    await proxy.refuse();
    const refused = connect(proxy.address);
    const [error] = (await once(refused, "error")) as [NodeJS.ErrnoException];
    assert.equal(error.code, "ECONNREFUSED");
    assert.equal(await roundTrip(kept, "still there"), "still there");
    await proxy.accept();
    assert.equal(proxy.address.port, port);
    assert.equal(await roundTrip(await dial(), "again"), "again");
  });
});
