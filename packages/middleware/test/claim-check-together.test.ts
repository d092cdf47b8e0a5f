import { createHash, randomBytes } from "node:crypto";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Bytes, bytes, connect, topic } from "@sluice/core";
import { memory } from "@sluice/memory";
import { expect, test } from "vitest";
import { claimCheck, cloudEventOf, cloudEvents, compress, encrypt, fileClaims } from "../src/index.ts";

const hash = (body: Uint8Array) => createHash("sha256").update(body).digest("hex");

test("all of them, through a retry, a dead letter and a redrive", async () => {
  const folder = await mkdtemp(join(tmpdir(), "claims-"));
  const key = randomBytes(32);
  const wire = [
    cloudEvents({ source: "/camera" }),
    compress({ threshold: 100 }),
    encrypt({ keys: { current: "k1", get: () => key } }),
    claimCheck(fileClaims(folder), { threshold: 1000 }),
  ];
  const bus = await connect(memory(), { middleware: { wire } });
  const Images = topic<Bytes>("images", { codec: bytes() });
  // Half of it compresses, and what is left is above the threshold.
  const image = Buffer.concat([randomBytes(4000), new Uint8Array(4000)]);

  const seen: string[] = [];
  let failing = true;
  await bus.subscribe(Images, { group: "g", retry: { attempts: 3, firstDelay: 1 } }, (payload: Bytes, context) => {
    seen.push(`${hash(payload)} ${cloudEventOf(context)?.source} ${cloudEventOf(context)?.datacontenttype}`);
    if (failing) throw new Error("not yet");
  });
  const dead = bus.settled(Images, { fate: "dead-letter" });
  await bus.publish(Images, image, { key: "c-1" });
  await dead;

  // What lies with the dead letters is what was on the wire: a reference to the encrypted bytes.
  const { letters } = await bus.deadLetters(Images, { group: "g" }).list();
  const [letter] = letters;
  const claim = JSON.parse(Buffer.from(letter?.body ?? []).toString()) as Record<string, string>;
  expect(claim["dataref"]).toBe(letter?.headers["dataref"]);
  expect(letter?.headers).toMatchObject({
    "content-type": "application/vnd.sluice.claim+json",
    "content-encoding": "gzip",
    encryption: "aes-256-gcm",
    "encryption-key": "k1",
    "ce-source": "/camera",
    "ce-dataref": claim["dataref"],
  });
  const stored = await readFile(join(folder, (claim["dataref"] ?? "").slice("claim:".length)));
  expect(hash(stored)).toBe(claim["sha256"]);
  expect(stored.byteLength).toBeLessThan(image.byteLength);
  expect(stored.includes(image.subarray(0, 16))).toBe(false);

  failing = false;
  const done = bus.settled(Images, { fate: "done" });
  await bus.deadLetters(Images, { group: "g" }).redrive();
  await done;
  expect(seen).toEqual(Array.from({ length: 4 }, () => `${hash(image)} /camera application/octet-stream`));
  // Stored once, and still there for other groups.
  expect((await readdir(folder, { recursive: true })).filter((name) => name.includes("/"))).toHaveLength(1);
  expect(bus.explain()).toBe(
    "memory out: schema > codec > cloudEvents > compress > encrypt > claimCheck > broker\n" +
      "memory in: broker > retry and dead letter > claimCheck > encrypt > compress > cloudEvents > codec > schema > handler",
  );
  await bus.close();
  await rm(folder, { recursive: true });
});

test("in structured mode the event itself is compressed and encrypted", async () => {
  const key = randomBytes(32);
  const wire = [
    cloudEvents({ source: "/shop", mode: "structured" }),
    compress({ threshold: 1 }),
    encrypt({ keys: { current: "k1", get: () => key } }),
  ];
  const bus = await connect(memory(), { middleware: { wire } });
  const Orders = topic<{ text: string }>("orders");
  const got = Promise.withResolvers<unknown>();
  await bus.subscribe(Orders, { group: "g" }, (payload, context) =>
    got.resolve([payload, cloudEventOf(context)?.type]),
  );
  await bus.publish(Orders, { text: "x".repeat(500) });
  expect(await got.promise).toEqual([{ text: "x".repeat(500) }, "orders"]);
  await bus.close();
});

test("small and large messages of a key keep their order, whatever each of them takes", async () => {
  const folder = await mkdtemp(join(tmpdir(), "claims-"));
  const wire = [compress({ threshold: 100 }), claimCheck(fileClaims(folder), { threshold: 1000 })];
  const bus = await connect(memory(), { middleware: { wire } });
  const Steps = topic<{ n: number; text: string }>("steps", { key: () => "k", ordering: "key" });
  const seen: number[] = [];
  const all = Promise.withResolvers<void>();
  await bus.subscribe(Steps, { group: "g" }, ({ n }) => {
    if (seen.push(n) === 30) all.resolve();
  });
  const texts = ["small", "x".repeat(500), randomBytes(3000).toString("base64")];
  await Promise.all(Array.from({ length: 30 }, (_, n) => bus.publish(Steps, { n, text: texts[n % 3] ?? "" })));
  await all.promise;
  expect(seen).toEqual(Array.from({ length: 30 }, (_, n) => n));
  await bus.close();
  await rm(folder, { recursive: true });
});
