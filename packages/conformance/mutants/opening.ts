/** Defects of opening and closing: what is left behind, credentials, addresses. */
import { createServer } from "node:net";
import { DriverError } from "@sluice/core/driver";
import type { Mutant } from "./mutant.ts";

const never = <T>(): Promise<T> => new Promise<T>(() => {});

/** Only in a child process: in the kit's own process the leak would be somebody else's. */
const inChild = (): boolean => process.channel !== undefined && process.channel !== null;

const busyUntil = new Map<string, number>();

export const opening: readonly Mutant[] = [
  {
    name: "one-consumer-per-lifetime",
    defect: "a group that was closed stays busy for half a minute",
    killedBy: ["G-22", "LC-05", "LC-09"],
    changes: {
      connection: (connection) => ({
        async receiver(sources, options) {
          const name = sources.map((source) => `${source.topic} ${"group" in source ? source.group : ""}`).join();
          if ((busyUntil.get(name) ?? 0) > Date.now())
            throw new DriverError("BUSY", `memory: ${name} is busy; close its consumers`);
          const receiver = await connection.receiver(sources, options);
          void receiver.closed.then(() => busyUntil.set(name, Date.now() + 30_000));
          return receiver;
        },
      }),
    },
  },
  {
    name: "second-close-throws",
    defect: "closing a connection twice rejects",
    killedBy: ["LC-07"],
    changes: {
      connection(connection) {
        let closed = false;
        return {
          async close(signal) {
            if (closed) throw new Error("already closed");
            closed = true;
            await connection.close(signal);
          },
        };
      },
    },
  },
  {
    name: "close-of-the-connection-hangs",
    defect: "closing a connection never resolves",
    killedBy: ["LC-07"],
    changes: { connection: () => ({ close: () => never<void>() }) },
  },
  {
    name: "cries-wolf",
    defect: "reports lost data with every receiver",
    killedBy: ["OB-03"],
    changes: {
      receiver(_, { sources, context }) {
        const [source] = sources;
        context.report({
          kind: "data-loss",
          ...(source && { source }),
          count: 1,
          detail: "memory: something may be lost",
        });
        return {};
      },
    },
  },
  {
    name: "leaks-a-timer",
    defect: "every connection leaves a timer behind",
    killedBy: ["G-21"],
    changes: {
      connection() {
        if (inChild()) setInterval(() => {}, 60_000);
        return {};
      },
    },
  },
  {
    name: "leaks-a-socket",
    defect: "every connection leaves a listening socket behind",
    killedBy: ["G-21"],
    changes: {
      connection() {
        if (inChild()) createServer().listen(0, "127.0.0.1");
        return {};
      },
    },
  },
  {
    name: "rejects-unheard",
    defect: "closing a connection leaves a rejection that nobody handles",
    killedBy: ["G-21"],
    changes: {
      connection: (connection) => ({
        async close(signal) {
          if (inChild()) void Promise.reject(new Error("nobody handles this"));
          await connection.close(signal);
        },
      }),
    },
  },
  {
    name: "wrong-password-is-retryable",
    defect: "refused credentials are reported as something that may pass",
    killedBy: ["G-27"],
    changes: {
      connect: (driver, context) =>
        driver
          .connect(context)
          .catch((error: unknown) =>
            rethrow(error, "UNAUTHORIZED", (text) => new DriverError("UNAUTHORIZED", text, { retryable: true })),
          ),
    },
  },
  {
    name: "secret-in-the-message",
    defect: "the error for refused credentials shows the password",
    killedBy: ["G-27"],
    changes: {
      connect: (driver, context) =>
        driver
          .connect(context)
          .catch((error: unknown) =>
            rethrow(
              error,
              "UNAUTHORIZED",
              (text) => new DriverError("UNAUTHORIZED", `${text} (password wrong-secret-7f3a91)`),
            ),
          ),
    },
  },
  {
    name: "wrong-password-is-unavailable",
    defect: "refused credentials look like a broker that is down",
    killedBy: ["G-27"],
    changes: {
      connect: (driver, context) =>
        driver
          .connect(context)
          .catch((error: unknown) => rethrow(error, "UNAUTHORIZED", (text) => new DriverError("UNAVAILABLE", text))),
    },
  },
  {
    name: "forbidden-is-not-found",
    defect: "what the broker forbids looks as if it were missing",
    killedBy: ["G-27b"],
    changes: {
      sender: (sender) => ({
        async send(items, signal) {
          const results = await sender.send(items, signal);
          return results.map((result) =>
            result.outcome !== "stored" && result.error.code === "FORBIDDEN"
              ? { ...result, error: new DriverError("NOT_FOUND", result.error.message) }
              : result,
          );
        },
      }),
    },
  },
  {
    name: "nothing-listening-hangs",
    defect: "connecting to an address where nothing answers never ends, not even by its signal",
    killedBy: ["G-30"],
    changes: {
      connect: (driver, context) =>
        driver
          .connect(context)
          .catch((error: unknown) =>
            isCode(error, "UNAVAILABLE") || isCode(error, "ABORTED") ? never() : Promise.reject(error),
          ),
    },
  },
];

function isCode(error: unknown, code: string): boolean {
  return error instanceof DriverError && error.code === code;
}

function rethrow(error: unknown, code: string, make: (text: string) => DriverError): never {
  throw error instanceof DriverError && error.code === code ? make(error.message) : error;
}
