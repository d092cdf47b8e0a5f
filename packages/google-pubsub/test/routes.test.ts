import { simulation } from "@sluice/memory";
import { describe, expect, test } from "vitest";
import { status } from "../src/errors.ts";
import { names } from "../src/names.ts";
import { Routes } from "../src/routes.ts";
import { FakeCalls, grpcError } from "./support/calls.ts";

const signal = new AbortController().signal;

function open() {
  const world = simulation();
  const calls = new FakeCalls();
  return { world, calls, routes: new Routes(calls, world.runtime, names(""), "p") };
}

describe("routes", () => {
  test("callers share a question; the one that gives up is ABORTED, and no other", async () => {
    const { calls, routes } = open();
    const first = new AbortController();
    const one = routes.check("t", first.signal);
    const other = routes.check("t", signal);
    first.abort();
    expect(await one).toMatchObject({ code: "ABORTED" });
    expect(calls.log).toHaveLength(1);
    (await calls.next()).answer({ subscriptions: ["s"] });
    expect(await other).toBeUndefined();
    expect(routes.isKnown("t")).toBe(true);
  });

  test("a signal that aborted before is ABORTED at once", async () => {
    const { routes } = open();
    expect(await routes.check("t", AbortSignal.abort())).toMatchObject({ code: "ABORTED" });
  });

  test("a topic that nobody reads is UNROUTABLE, one that does not exist NOT_FOUND", async () => {
    const { calls, routes } = open();
    const unread = routes.check("t", signal);
    (await calls.next()).answer({ subscriptions: [] });
    (await calls.next()).answer({ name: "t" });
    expect(await unread).toMatchObject({ code: "UNROUTABLE" });
    const missing = routes.check("t", signal);
    (await calls.next()).fail(grpcError(status.notFound));
    expect(await missing).toMatchObject({ code: "NOT_FOUND" });
  });

  test("who may not look trusts that somebody listens", async () => {
    const { calls, routes } = open();
    const asked = routes.check("t", signal);
    (await calls.next()).fail(grpcError(status.permissionDenied));
    expect(await asked).toBeUndefined();
  });

  test("what was seen holds for a minute", async () => {
    const { world, calls, routes } = open();
    const asked = routes.check("t", signal);
    (await calls.next()).answer({ subscriptions: ["s"] });
    await asked;
    expect(await routes.check("t", signal)).toBeUndefined();
    await world.advance(60_000);
    void routes.check("t", signal);
    expect(calls.log).toHaveLength(2);
  });
});
