import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { Redis } from "ioredis";
import { describe, expect, onTestFinished, test } from "vitest";
import { fits, imageOf, knownVersions } from "../brokers/images.ts";
import { brokerNames, brokers, brokerUrl, listing, type BrokerRequest, type RunningBroker } from "../brokers/index.ts";
import { asEnvironment } from "../brokers/kafka-settings.ts";
import { freePorts } from "../brokers/ports.ts";
import { kinds } from "../brokers/kinds.ts";
import { untilReady } from "../brokers/ready.ts";
import { addressText, runTable } from "../brokers/table.ts";

const offers = await listing();
// One version of each: the others differ in what is fetched, not in how it is started.
const native = offers.filter(
  ({ provider, why, broker }, index) =>
    provider === "native" &&
    why === undefined &&
    offers.findIndex((other) => other.provider === "native" && other.broker === broker) === index,
);

const silent = { log: (): void => {} };

async function one(request: BrokerRequest): Promise<RunningBroker> {
  const running = await brokers([request], silent);
  onTestFinished(running.stopAll);
  const [broker] = running.available;
  if (!broker) throw new Error(running.unavailable.map(({ why }) => why).join());
  return broker;
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

async function until(what: string, holds: () => boolean): Promise<void> {
  const deadline = Date.now() + 20_000;
  while (!holds()) {
    if (Date.now() > deadline) throw new Error(`not within 20 s: ${what}`);
    await delay(25);
  }
}

function setVariable(name: string, value: string): void {
  const before = process.env[name];
  process.env[name] = value;
  onTestFinished(() => {
    if (before === undefined) delete process.env[name];
    else process.env[name] = before;
  });
}

describe("small parts", () => {
  test("free ports are all different", async () => {
    const ports = await freePorts(20);
    expect(new Set(ports).size).toBe(20);
  });

  test("versions match by whole parts", () => {
    expect(fits("4.3.6", "4.3")).toBe(true);
    expect(fits("4.30.1", "4.3")).toBe(false);
    expect(fits("3.10.8", undefined)).toBe(true);
  });

  test("images come from docker-compose.yml", () => {
    expect(imageOf("kafka")).toMatch(/^apache\/kafka:\d+\.\d+\.\d+$/);
    expect(imageOf("kafka", "3.9.2")).toBe("apache/kafka:3.9.2");
    expect(imageOf("rabbitmq", "4.1")).toBe("rabbitmq:4.1-management");
    expect(knownVersions("kafka")).toContain("3.9.2");
    expect(imageOf("google-pubsub")).toMatch(/\/google-cloud-cli:emulators$/);
  });

  test("a version may name one of several products", () => {
    expect(knownVersions("redis")).toEqual([expect.stringMatching(/^8\./), expect.stringMatching(/^valkey-9\./)]);
    expect(imageOf("redis", "8.2")).toBe("redis:8.2");
    expect(imageOf("redis", "valkey-9.0")).toBe("valkey/valkey:9.0");
    expect(imageOf("redis", "valkey")).toMatch(/^valkey\/valkey:9/);
    expect(imageOf("sqs-sns", "moto")).toBe(imageOf("sqs-sns"));
    expect(fits("valkey-9.1.2", "valkey-9.1")).toBe(true);
    expect(fits("valkey-9.1.2", "valkey")).toBe(true);
  });

  test("Kafka's settings follow the image's naming", () => {
    expect(asEnvironment({ "auto.create.topics.enable": "false" })).toEqual({
      KAFKA_AUTO_CREATE_TOPICS_ENABLE: "false",
    });
  });

  test("the table hides passwords and says why something is missing", () => {
    expect(addressText({ kind: "url", url: "amqp://me:secret@host:1" })).toBe("amqp://me:***@host:1");
    const text = runTable([], [{ request: { broker: "kafka", version: "9" }, why: "first\nsecond" }]);
    expect(text.split("\n").at(-1)).toMatch(/^kafka +any +9 +- +- +unavailable: first$/);
  });
});

describe("what cannot be had", () => {
  test("an external broker that does not answer is reported, and not replaced by another provider's on request", async () => {
    const [port] = await freePorts(1);
    setVariable("RABBITMQ_URL", `amqp://127.0.0.1:${port}`);
    const { available, unavailable } = await brokers([{ broker: "rabbitmq", provider: "external" }], silent);
    expect(available).toEqual([]);
    expect(unavailable[0]?.why).toMatch(/RABBITMQ_URL is set, but the broker did not answer .*ECONNREFUSED/);
  });

  test("SLUICE_REQUIRE_BROKERS turns it into a failure", async () => {
    setVariable("KAFKA_BROKERS", "");
    setVariable("SLUICE_REQUIRE_BROKERS", "all");
    const attempt = brokers([{ broker: "kafka", provider: "external" }], silent);
    await expect(attempt).rejects.toThrow(/KAFKA_BROKERS is not set/);
  });

  test("waiting ends at once, with the log, when the process is gone", async () => {
    const [port] = await freePorts(1);
    const waiting = untilReady(
      "kafka",
      { kind: "brokers", brokers: [`127.0.0.1:${port}`] },
      { hopeless: () => "exited with code 1", tail: () => Promise.resolve("no space left") },
    );
    await expect(waiting).rejects.toThrow(/exited with code 1.*\nend of its log:\nno space left/);
  });
});

describe.each(native)("native $broker $version", ({ broker, version }) => {
  const request = { broker, provider: "native", version } as const;

  test("starts, answers, survives a kill on the same address, and leaves nothing", async () => {
    const running = await one(request);
    expect(fits(running.version, version)).toBe(true);
    await kinds[broker].probe(running.address);
    const before = running.local?.pid();

    await running.control?.restart("kill");
    expect(running.local?.pid()).not.toBe(before);
    await kinds[broker].probe(running.address);

    const directory = running.local?.directory ?? "";
    const pid = running.local?.pid() ?? 0;
    expect(existsSync(directory)).toBe(true);
    await running.stop();
    expect(existsSync(directory)).toBe(false);
    expect(isAlive(pid)).toBe(false);
  });
});

test.runIf(native.some(({ broker }) => broker === "redis"))(
  "native redis keeps what it confirmed before a kill",
  async () => {
    const running = await one({ broker: "redis", provider: "native" });
    expect(running.keepsData).toBe(true);
    const command = async (name: "set" | "get", ...values: string[]): Promise<unknown> => {
      const redis = new Redis(brokerUrl(running));
      try {
        return await redis.call(name, ...values);
      } finally {
        redis.disconnect();
      }
    };
    await command("set", "kept", "yes");
    await running.control?.restart("kill");
    expect(await command("get", "kept")).toBe("yes");
  },
);

/** Runs the command line in a process of its own; resolves with what it started. */
async function runApart(
  request: BrokerRequest,
): Promise<{ kill: () => void; started: { pid: number; local: { directory: string } } | undefined }> {
  const cli = join(import.meta.dirname, "../brokers/cli.ts");
  const options = ["--broker", request.broker, "--provider", request.provider ?? "native", "--json"];
  const run = spawn(process.execPath, ["--conditions=@sluice/source", cli, ...options], {
    stdio: ["ignore", "pipe", "ignore"],
  });
  onTestFinished(() => void run.kill("SIGTERM"));
  const [line] = (await once(createInterface({ input: run.stdout }), "line")) as [string];
  const [started] = JSON.parse(line) as { pid: number; local: { directory: string } }[];
  return { kill: () => void run.kill("SIGKILL"), started };
}

describe("a run that is killed", () => {
  test.each(brokerNames.filter((name) => native.some((offer) => offer.broker === name)))(
    "leaves no native %s behind",
    async (broker) => {
      const { started, kill } = await runApart({ broker, provider: "native" });
      if (!started) throw new Error("nothing was started");
      expect(isAlive(started.pid)).toBe(true);
      kill();
      await until("the broker is gone", () => !isAlive(started.pid));
      await until("its folder is gone", () => !existsSync(started.local.directory));
    },
  );
});
