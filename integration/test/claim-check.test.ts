// Large bodies in a bucket of a server that speaks S3's protocol: the stand-ins for SQS and SNS do that as well.
import { randomBytes, randomUUID } from "node:crypto";
import { S3 } from "@aws-sdk/client-s3";
import { type Bytes, bytes, connect, topic, UnavailableError } from "@sluice/core";
import { memory } from "@sluice/memory";
import { claimCheck, type ClaimStore, s3Claims, sweepClaims } from "@sluice/middleware";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Brokers, brokers, type ProviderName } from "../brokers/index.ts";

const never = new AbortController().signal;
/** fauxqs, which an npm package brings along, and moto where containers come first. */
const servers: readonly [string, ProviderName | undefined][] = [
  ["native", "native"],
  ["containers", undefined],
];

function open(endpoint: string): S3 {
  return new S3({
    endpoint,
    region: "us-east-1",
    forcePathStyle: true,
    maxAttempts: 1,
    credentials: { accessKeyId: "test", secretAccessKey: "test" },
  });
}

async function names(store: ClaimStore): Promise<readonly string[]> {
  const found: string[] = [];
  for await (const { name } of store.list()) found.push(name);
  return found.toSorted();
}

describe.each(servers)("%s", (name, provider) => {
  let started: Brokers;
  let client: S3 | undefined;
  let why: string | undefined;
  const bucket = `claims-${randomUUID()}`;
  beforeAll(async () => {
    started = await brokers([{ broker: "sqs-sns", ...(provider && { provider }) }]);
    process.stdout.write(`${started.table()}\n`);
    const [running] = started.available;
    // n.b. An external SQS and SNS need not have an S3.
    why = running ? `the provider is ${running.provider}` : started.unavailable[0]?.why;
    if (running?.provider !== name || running.address.kind !== "url") return;
    client = open(running.address.url);
    await client.createBucket({ Bucket: bucket });
  }, 240_000);
  afterAll(async () => {
    client?.destroy();
    await started.stopAll();
  }, 60_000);

  test("a large body goes to several groups; when it is missing, the dead letter names it", async ({ skip }) => {
    const s3 = client ?? skip(why);
    const store = s3Claims({ client: s3, bucket, prefix: "claims/" });
    const bus = await connect(memory(), { middleware: { wire: [claimCheck(store, { prefix: "images/" })] } });
    const Images = topic<Bytes>("images", { codec: bytes() });
    const image = randomBytes(5_000_000);
    const same: boolean[] = [];
    for (const group of ["a", "b"]) {
      await bus.subscribe(Images, { group }, (payload) => void same.push(image.equals(payload)));
    }
    const late = await bus.subscribe(Images, { group: "late" }, () => expect.fail("it was handled"));
    late.pause();
    const done = ["a", "b"].map((group) => bus.settled(Images, { group, fate: "done" }));
    await bus.publish(Images, image);
    await Promise.all(done);
    expect(same).toEqual([true, true]);
    const [name = "", ...others] = await names(store);
    expect(others).toEqual([]);
    expect(name).toMatch(/^images\/\d{4}-\d{2}-\d{2}\/[\w-]+$/);

    await store.delete(name);
    const dead = bus.settled(Images, { group: "late", fate: "dead-letter" });
    late.resume();
    expect(await dead).toMatchObject({ reason: "invalid" });
    const { letters } = await bus.deadLetters(Images, { group: "late" }).list();
    expect(letters[0]?.errorMessage).toContain(`refers to s3://${bucket}/claims/${name}, which is not there`);
    await bus.close();
  });

  test("no more is read than was asked for; a bucket that is missing is a store that is down", async ({ skip }) => {
    const s3 = client ?? skip(why);
    const store = s3Claims({ client: s3, bucket });
    await store.put("2026-01-01/x", randomBytes(3000), never);
    expect(await store.get("2026-01-01/x", 999, never)).toHaveLength(1000);
    expect(await store.get("2026-01-01/x", 3000, never)).toHaveLength(3000);
    expect(await store.get("2026-01-01/y", 3000, never)).toBeUndefined();
    await store.delete("2026-01-01/x");
    await store.delete("2026-01-01/x");
    const elsewhere = s3Claims({ client: s3, bucket: `none-${randomUUID()}` });
    await expect(elsewhere.get("x", 1, never)).rejects.toThrow(expect.objectContaining({ name: "NoSuchBucket" }));
  });

  test("the sweep finds every page, and takes what has expired", { timeout: 120_000 }, async ({ skip }) => {
    const s3 = client ?? skip(why);
    const store = s3Claims({ client: s3, bucket, prefix: "swept/" });
    const body = Buffer.from("x");
    // One page has a thousand.
    const all = Array.from({ length: 1003 }, (_, n) => `${n < 3 ? "2999" : "2026"}-01-01/${randomUUID()}`);
    for (let first = 0; first < all.length; first += 50) {
      await Promise.all(all.slice(first, first + 50).map((name) => store.put(name, body, never)));
    }
    const runtime = { wallMs: () => Date.parse("2998-01-01") };
    expect(await sweepClaims(store, { runtime })).toEqual({ deleted: 1000, bytes: 1000, kept: 3, errors: [] });
    expect(await names(store)).toEqual(all.slice(0, 3).toSorted());
  });
});

test("a server that is not there: unavailable", async () => {
  const client = open("http://127.0.0.1:1");
  const middleware = claimCheck(s3Claims({ client, bucket: "claims" }), { threshold: 1 });
  const message = {
    system: "memory",
    topic: "t",
    id: "1",
    key: null,
    time: 0,
    headers: {},
    body: Buffer.from("large"),
  };
  await expect(middleware.outgoing?.(message)).rejects.toThrow(UnavailableError);
  client.destroy();
});
