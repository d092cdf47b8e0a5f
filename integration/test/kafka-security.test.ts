// TLS and every login on a real broker: its own, because the others' listeners are plain.
import { execFile } from "node:child_process";
import { randomBytes, randomUUID } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { type Bus, connect, topic } from "@sluice/core";
import { kafka, type KafkaOptions, type KafkaSasl } from "@sluice/kafka";
import { afterAll, describe, expect, onTestFinished, test, vi } from "vitest";
import { composeVersion } from "../brokers/images.ts";
import { findJava, findProgram, kafkaIsCached, kafkaJars } from "../brokers/install.ts";
import { kafkaSettings } from "../brokers/kafka-settings.ts";
import { startNative } from "../brokers/native.ts";
import { freePorts } from "../brokers/ports.ts";
import { ManagedProcess } from "../brokers/process.ts";
import type { RunningBroker } from "../brokers/types.ts";

const run = promisify(execFile);
const [user, password] = ["alice", "correct horse"] as const;
const module = "org.apache.kafka.common.security";
const jaas: Readonly<Record<string, string>> = {
  plain: `${module}.plain.PlainLoginModule required user_${user}="${password}";`,
  "scram-sha-256": `${module}.scram.ScramLoginModule required;`,
  "scram-sha-512": `${module}.scram.ScramLoginModule required;`,
  oauthbearer: `${module}.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="broker";`,
};

interface SecureBroker {
  readonly running: RunningBroker;
  readonly brokers: readonly string[];
  readonly certificate: string;
}

/** A self-signed certificate for localhost, in a key store for the broker and as text for clients. */
async function certify(keytool: string, directory: string): Promise<{ readonly store: string; readonly text: string }> {
  const [store, text] = [join(directory, "keys.p12"), join(directory, "certificate.pem")];
  const common = ["-keystore", store, "-storetype", "PKCS12", "-storepass", password, "-alias", "broker"];
  const names = ["-dname", "CN=localhost", "-ext", "SAN=dns:localhost,ip:127.0.0.1"];
  await run(keytool, ["-genkeypair", "-keyalg", "RSA", "-keysize", "2048", "-validity", "2", ...names, ...common]);
  await run(keytool, ["-exportcert", "-rfc", "-file", text, ...common]);
  return { store, text: await readFile(text, "utf8") };
}

async function startSecure(java: string, keytool: string): Promise<SecureBroker> {
  const version = composeVersion("kafka");
  const jars = await kafkaJars(version, () => {});
  const [clientPort = 0, internalPort = 0, controllerPort = 0] = await freePorts(3);
  const advertised = `localhost:${clientPort}`;
  let certificate = "";
  const running = await startNative({ broker: "kafka", version }, async (directory) => {
    const { store, text } = await certify(keytool, directory);
    certificate = text;
    const logins = Object.entries(jaas).map(([name, value]) => [
      `listener.name.client.${name}.sasl.jaas.config`,
      value,
    ]);
    const settings: Record<string, string> = {
      ...kafkaSettings({ bind: "127.0.0.1", clientPort, internalPort, controllerPort, advertised }),
      "controller.quorum.bootstrap.servers": `127.0.0.1:${controllerPort}`,
      "log.dirs": join(directory, "data"),
      "listener.security.protocol.map": "CLIENT:SASL_SSL,INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT",
      "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER",
      // The broker ends a connection whose token has run out, and tells clients beforehand when that is.
      "listener.name.client.oauthbearer.connections.max.reauth.ms": "3600000",
      "ssl.keystore.location": store,
      "ssl.keystore.password": password,
      "ssl.keystore.type": "PKCS12",
      ...(Object.fromEntries(logins) as Record<string, string>),
    };
    const file = join(directory, "server.properties");
    const lines = Object.entries(settings).map(([name, value]) => `${name}=${value}\n`);
    await writeFile(file, lines.join(""));
    const classes = ["-cp", join(jars, "*")];
    const scram = ["256", "512"].map((bits) => `--add-scram=SCRAM-SHA-${bits}=[name=${user},password=${password}]`);
    const id = `--cluster-id=${randomBytes(16).toString("base64url")}`;
    await run(java, [...classes, "kafka.tools.StorageTool", "format", "--standalone", id, "-c", file, ...scram]);
    const node = new ManagedProcess({
      command: java,
      args: ["-Xmx512m", "-Xms256m", ...classes, "kafka.Kafka", file],
      environment: process.env,
      directory,
      log: join(directory, "server.log"),
    });
    // Readiness is asked on the inner listener, which is plain.
    return { version, keepsData: true, address: { kind: "brokers", brokers: [`127.0.0.1:${internalPort}`] }, node };
  });
  return { running, brokers: [advertised], certificate };
}

/** A token without a signature, which a broker takes that was given no keys. */
function token(lifetimeSeconds: number): string {
  const now = Math.floor(Date.now() / 1000);
  const claims = { sub: user, iat: now, exp: now + lifetimeSeconds };
  return (
    [{ alg: "none" }, claims].map((part) => Buffer.from(JSON.stringify(part)).toString("base64url")).join(".") + "."
  );
}

const java = await findJava();
const keytool = await findProgram("keytool");
const available = java !== undefined && keytool !== undefined && (await kafkaIsCached(composeVersion("kafka")));
const secure = available ? await startSecure(java, keytool) : undefined;
afterAll(() => secure?.running.stop(), 60_000);

function optionsWith(sasl: KafkaSasl): KafkaOptions {
  return { brokers: secure?.brokers ?? [], ssl: { ca: secure?.certificate ?? "" }, sasl };
}

describe.skipIf(!secure)("a broker with TLS and logins", () => {
  const logins: readonly (readonly [string, KafkaSasl])[] = [
    ...(["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] as const).map(
      (mechanism) => [mechanism, { mechanism, username: user, password }] as const,
    ),
    ["OAUTHBEARER", { mechanism: "OAUTHBEARER", token: async () => token(300) }],
  ];

  test.each(logins)("takes messages and gives them back over %s", async (_name, sasl) => {
    const bus = await connect(kafka(optionsWith(sasl)));
    const orders = topic<{ n: number }>(`secure-${randomUUID()}`, { groups: ["g"], shards: 1 });
    const got = Promise.withResolvers<number>();
    await bus.subscribe(orders, { group: "g" }, async ({ n }) => got.resolve(n));
    await bus.publish(orders, { n: 42 });
    expect(await got.promise).toBe(42);
    await bus.close();
  });

  test.each(["PLAIN", "SCRAM-SHA-512"] as const)(
    "refuses a wrong password over %s, and keeps it secret",
    async (mechanism) => {
      const wrong = kafka(optionsWith({ mechanism, username: user, password: "wrong-one" }));
      const failure = await connect(wrong).catch((error: unknown) => error);
      expect(failure).toMatchObject({ code: "UNAUTHORIZED" });
      expect(JSON.stringify(failure) + String(failure)).not.toContain("wrong-one");
    },
  );

  test("a token that has run out is refused, on a broker that gets no other", async () => {
    const sasl: KafkaSasl = { mechanism: "OAUTHBEARER", token: async () => token(-60) };
    await expect(connect(kafka(optionsWith(sasl)))).rejects.toMatchObject({
      code: "UNAUTHORIZED",
      message: expect.stringContaining("refused the token"),
    });
  });

  test("a token that has run out is replaced: the next login asks for another", async () => {
    let asked = 0;
    const sasl: KafkaSasl = { mechanism: "OAUTHBEARER", token: async () => token(asked++ === 0 ? -60 : 300) };
    const driver = kafka(optionsWith(sasl));
    const bus = await connect(driver).catch(() => connect(driver));
    await bus.close();
    expect(asked).toBeGreaterThan(1);
  });

  // kafkajs asks for the next token ten seconds before the broker ends a connection.
  const shortSeconds = 13;

  interface Tick {
    readonly n: number;
  }

  /** A subscription and a publisher, until `enough`; every publish is confirmed, and everything is handled once. */
  async function flow(bus: Bus, enough: () => boolean): Promise<readonly string[]> {
    const ticks = topic<Tick>(`secure-${randomUUID()}`, { groups: ["g"], shards: 1 });
    const seen: number[] = [];
    const states = new Set<string>();
    await bus.subscribe(ticks, { group: "g" }, async ({ n }) => void seen.push(n));
    let n = 0;
    while (!enough()) {
      await bus.publish(ticks, { n: n++ }, { deadline: 60_000 });
      for (const { state, error } of bus.health().subscriptions) states.add(`${state} ${error?.code ?? ""}`.trim());
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    await vi.waitFor(() => expect(new Set(seen).size).toBe(n), { timeout: 60_000, interval: 50 });
    return [...states];
  }

  test("a token is replaced before it runs out, while all goes on", { timeout: 120_000 }, async () => {
    let asked = 0;
    const began = performance.now();
    const sasl: KafkaSasl = { mechanism: "OAUTHBEARER", token: async () => (asked++, token(shortSeconds)) };
    const bus = await connect(kafka(optionsWith(sasl)));
    onTestFinished(() => bus.close());
    const connected = asked;
    const states = await flow(bus, () => performance.now() - began > 2.2 * shortSeconds * 1_000);
    expect(asked).toBeGreaterThan(connected + 3);
    expect(states).toEqual(["live"]);
  });

  test("while nobody gives a token all waits, and goes on with the next one", { timeout: 180_000 }, async () => {
    let given = true;
    let refused = 0;
    const sasl: KafkaSasl = {
      mechanism: "OAUTHBEARER",
      token: async () => {
        if (given) return token(shortSeconds);
        refused++;
        throw new Error("the identity provider is away");
      },
    };
    const driver = kafka(optionsWith(sasl));
    const bus = await connect(driver);
    onTestFinished(() => bus.close());
    const began = performance.now();
    const seconds = () => (performance.now() - began) / 1_000;
    const states = flow(bus, () => seconds() > 3 * shortSeconds);
    states.catch(() => {}); // it is looked at below
    await vi.waitFor(() => expect(seconds()).toBeGreaterThan(2), { timeout: 10_000 });
    given = false;
    await vi.waitFor(() => expect(seconds()).toBeGreaterThan(shortSeconds + 5), { timeout: 60_000, interval: 200 });
    await expect(connect(driver)).rejects.toMatchObject({
      code: "UNAVAILABLE",
      message: expect.stringContaining("the identity provider is away"),
    });
    expect(refused).toBeGreaterThan(0);
    given = true;
    expect(await states).toContain("live");
  });

  test("a certificate that nobody vouches for is refused, and said to be the reason", async () => {
    const { ssl: _ssl, ...rest } = optionsWith({ mechanism: "PLAIN", username: user, password });
    await expect(connect(kafka({ ...rest, ssl: true }))).rejects.toMatchObject({
      code: "CONFIG",
      message: expect.stringMatching(/self-signed certificate/),
    });
  });
});
