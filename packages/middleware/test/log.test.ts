import { type Context, type Logger, PermanentError, type Outcome, SluiceError } from "@sluice/core";
import { simulation } from "@sluice/memory";
import { log, type LogLine, type LogOptions } from "@sluice/middleware";
import { describe, expect, test } from "vitest";
import { bench, Orders } from "./support/bench.ts";

interface Line extends LogLine {
  readonly level: keyof Logger;
  readonly text: string;
}

function recorder(): { readonly lines: Line[]; readonly logger: Logger } {
  const lines: Line[] = [];
  const write = (level: keyof Logger) => (fields: object, text: string) =>
    void lines.push({ ...(fields as LogLine), level, text });
  return { lines, logger: { debug: write("debug"), info: write("info"), warn: write("warn"), error: write("error") } };
}

async function logged(
  handler: (context: Context) => void | Outcome | Promise<void | Outcome>,
  options: LogOptions = {},
  headers: Record<string, string> = {},
) {
  const clock = simulation();
  const { lines, logger } = recorder();
  const middleware = { delivery: [log({ logger, runtime: clock.runtime, ...options })] };
  const { bus } = await bench({ middleware }, clock);
  const subscription = await clock.run(
    bus.subscribe(Orders, { group: "billing", retry: { attempts: 2, firstDelay: "1s" } }, (_order, context) =>
      handler(context),
    ),
  );
  const settled = bus.settled(Orders, { group: "billing" });
  await clock.run(bus.publish(Orders, { orderId: "secret payload" }, { id: "m-1", headers }));
  const { fate } = await clock.run(settled);
  const explained = subscription.explain();
  await clock.run(bus.close());
  return { lines, fate, explained };
}

describe("log", () => {
  test("one line per delivery, with what is needed to find it again", async () => {
    const headers = { "correlation-id": "flow-7", other: "not asked for" };
    const { lines, explained } = await logged(() => undefined, {}, headers);
    expect(lines).toEqual([
      {
        level: "info",
        text: "orders done",
        topic: "orders",
        group: "billing",
        messageId: "m-1",
        attempt: 1,
        outcome: "done",
        durationMs: 0,
        error: undefined,
        headers: { "correlation-id": "flow-7" },
      },
    ]);
    expect(explained).toContain("chain: log > retry and dead letter > handler");
  });

  test("attempts in this process are one line, with the last attempt and the time of all", async () => {
    const { lines } = await logged(({ message }) => {
      if (message.attempt === 1) throw new Error("secret payload");
    });
    expect(lines).toMatchObject([{ outcome: "done", attempt: 2, error: undefined }]);
    expect(lines[0]?.durationMs).toBeGreaterThan(0);
  });

  test.for<[string, (context: Context) => Outcome, string]>([
    ["drop", (context) => context.drop("why"), "info"],
    ["dead-letter", (context) => context.deadLetter("why"), "warn"],
  ])("an outcome: %s", async ([outcome, handler, level]) => {
    const { lines, fate } = await logged(handler);
    expect([fate, lines.length]).toEqual([outcome, 1]);
    expect(lines[0]).toMatchObject({ outcome, level, error: undefined });
  });

  test.for<[string, unknown, string]>([
    ["SluiceError", new SluiceError("TOO_LARGE", "secret payload"), "TOO_LARGE"],
    ["PermanentError", new PermanentError("secret payload"), "PermanentError"],
    ["a foreign code", Object.assign(new Error("secret payload"), { code: "ECONNRESET" }), "ECONNRESET"],
    ["a code of another type", Object.assign(new Error("secret payload"), { code: 7 }), "Error"],
    ["not an error", "secret payload", "thrown string"],
    ["undefined", undefined, "thrown undefined"],
  ])("a failure by its code, never by its text: %s", async ([, error, code]) => {
    const { lines } = await logged(() => {
      throw error;
    });
    expect(lines).toMatchObject([{ outcome: "failed", level: "warn", error: code }]);
    expect(JSON.stringify(lines)).not.toContain("secret payload");
  });

  test("hides what everybody hides, and what is asked for, in all headers and in chosen ones", async () => {
    const headers = {
      Authorization: "Bearer 1",
      "x-api-key": "2",
      "session-token": "3",
      "customer-mail": "4",
      "X-Internal": "5",
      plain: "6",
      long: "x".repeat(300),
    };
    const redact = ["CUSTOMER-MAIL", /^x-internal$/gi];
    const hidden = "[redacted]";
    const { lines } = await logged(() => undefined, { headers: "all", redact }, headers);
    expect(lines[0]?.headers).toMatchObject({
      Authorization: hidden,
      "x-api-key": hidden,
      "session-token": hidden,
      "customer-mail": hidden,
      "X-Internal": hidden,
      plain: "6",
      long: `${"x".repeat(256)}…`,
    });
    const chosen = await logged(() => undefined, { headers: ["Authorization", "plain", "missing"], redact }, headers);
    expect(chosen.lines[0]?.headers).toEqual({ Authorization: hidden, plain: "6" });
  });

  test("without a logger of its own the line goes to the bus's", async () => {
    const { lines, logger } = recorder();
    const { bus, clock } = await bench({ logger, middleware: { delivery: [log()] } });
    await clock.run(bus.subscribe(Orders, { group: "billing" }, () => undefined));
    const settled = bus.settled(Orders, { group: "billing" });
    await clock.run(bus.publish(Orders, { orderId: "o-1" }, { id: "m-1" }));
    await clock.run(settled);
    await clock.run(bus.close());
    expect(lines).toMatchObject([{ level: "info", text: "orders done", messageId: "m-1", group: "billing" }]);
  });

  test("levels are the caller's", async () => {
    const levels = { level: "debug", failureLevel: "error" } as const;
    expect((await logged(() => undefined, levels)).lines[0]?.level).toBe("debug");
    const failing = () => {
      throw new PermanentError("no");
    };
    expect((await logged(failing, levels)).lines[0]?.level).toBe("error");
  });

  test("a logger or a pattern that throws changes nothing", async () => {
    const broken = () => {
      throw new Error("disk full");
    };
    const logger = { debug: broken, info: broken, warn: broken, error: broken };
    expect((await logged(() => undefined, { logger })).fate).toBe("done");
    const incomplete = {} as Logger;
    expect((await logged((context) => context.drop("why"), { logger: incomplete })).fate).toBe("drop");
  });
});
