import { execFileSync } from "node:child_process";
import { randomBytes, randomUUID } from "node:crypto";
import { mkdir, mkdtemp, readdir, readFile, rename, rm, stat, symlink, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { connect, isSluiceError, topic, UnavailableError } from "@sluice/core";
import { memory, MemoryBroker } from "@sluice/memory";
import type { S3 } from "@aws-sdk/client-s3";
import { afterAll, describe, expect, expectTypeOf, test } from "vitest";
import {
  claimCheck,
  type ClaimStore,
  cloudEventOf,
  cloudEvents,
  fileClaims,
  s3Claims,
  type S3Like,
  sweepClaims,
} from "../src/index.ts";
import { Limiter } from "../src/claims/limiter.ts";
import { isClaimName } from "../src/claims/store.ts";
import { incoming, outgoing, wireContext, wireMessage } from "./wire-support.ts";

const root = await mkdtemp(join(tmpdir(), "claims-"));
afterAll(() => rm(root, { recursive: true, force: true }));
let folders = 0;
const newFolder = () => join(root, String(folders++));

const large = randomBytes(5000);
const options = { threshold: 1000 };
const never = new AbortController().signal;

const unexpected = () => Promise.reject(new Error("nobody should call it"));
const noClient: S3Like = {
  putObject: unexpected,
  getObject: unexpected,
  deleteObject: unexpected,
  listObjectsV2: unexpected,
};

function setUp(more: Parameters<typeof claimCheck>[1] = {}) {
  const folder = newFolder();
  const store = fileClaims(folder);
  return { folder, store, middleware: [claimCheck(store, { ...options, ...more })] };
}

async function refusal(run: Promise<unknown>): Promise<string> {
  const error: unknown = await run.then(
    () => expect.fail("it was accepted"),
    (reason: unknown) => reason,
  );
  expect(isSluiceError(error, "INVALID_PAYLOAD")).toBe(true);
  return String(error);
}

/** The only object of a folder. */
async function onlyFile(folder: string): Promise<string> {
  const names = await readdir(folder, { recursive: true, withFileTypes: true });
  const [file, ...others] = names.filter((each) => each.isFile() && each.name !== ".sluice-claims");
  expect(others).toEqual([]);
  return join(file?.parentPath ?? "", file?.name ?? "");
}

describe("a large body", () => {
  test("is a file, and the message says where, with hash and size", async () => {
    const { folder, middleware } = setUp({ expiry: "14d", prefix: "orders/" });
    const sent = await outgoing(
      middleware,
      wireMessage({ body: large, headers: { "content-type": "application/json" } }),
    );
    const claim = JSON.parse(Buffer.from(sent.body ?? []).toString()) as Record<string, string>;
    expect(claim).toEqual({
      dataref: expect.stringMatching(/^claim:orders\/\d{4}-\d{2}-\d{2}\/[\w-]+$/) as string,
      sha256: expect.stringMatching(/^[0-9a-f]{64}$/) as string,
      size: 5000,
      expires: expect.stringMatching(/^\d{4}-/) as string,
      datacontenttype: "application/json",
    });
    expect({ ...sent.headers }).toEqual({
      "content-type": "application/vnd.sluice.claim+json",
      dataref: claim["dataref"],
    });
    const path = await onlyFile(folder);
    expect(await readFile(path)).toEqual(large);
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    // Read by as many as want to.
    for (let group = 0; group < 3; group++) {
      const got = await incoming(middleware, sent);
      expect(Buffer.from(got.body ?? [])).toEqual(large);
      expect({ ...got.headers }).toEqual({ "content-type": "application/json" });
    }
  });

  test("a small one, and nothing, go as they are", async () => {
    const { middleware } = setUp();
    for (const body of [large.subarray(0, 1000), null]) {
      const sent = await outgoing(middleware, wireMessage({ body }));
      expect(sent.body).toBe(body);
      expect({ ...sent.headers }).toEqual({});
    }
  });

  test("a CloudEvent in binary mode has the extension", async () => {
    const { middleware } = setUp();
    const both = [cloudEvents({ source: "/s" }), ...middleware];
    const sent = await outgoing(both, wireMessage({ system: "kafka", body: large }));
    expect(sent.headers["ce_dataref"]).toBe(sent.headers["dataref"]);
    const context = wireContext();
    expect(Buffer.from((await incoming(both, sent, context)).body ?? [])).toEqual(large);
    expect(cloudEventOf(context)?.["dataref"]).toBe(sent.headers["dataref"]);
  });

  test("above the limit is refused before it is stored", async () => {
    const { middleware } = setUp({ maxBytes: 4999 });
    expect(() => middleware[0]?.outgoing?.(wireMessage({ body: large }))).toThrow(
      expect.objectContaining({ code: "TOO_LARGE" }),
    );
  });
});

describe("what is wrong with a reference", () => {
  async function sentWith(change: object, more = {}) {
    const { folder, middleware } = setUp(more);
    const sent = await outgoing(middleware, wireMessage({ body: large }));
    const claim = { ...(JSON.parse(Buffer.from(sent.body ?? []).toString()) as object), ...change };
    return { folder, middleware, sent: { ...sent, body: Buffer.from(JSON.stringify(claim)) } };
  }

  test.each([
    ["another store", "s3://bucket/2026-01-01/x"],
    ["a way out", "claim:../../etc/passwd"],
    ["a way out inside", "claim:a/../../x"],
    ["an absolute path", "claim:/etc/passwd"],
    ["a drive", "claim:C:\\x"],
    ["a hidden folder", "claim:.git/config"],
    ["an encoded way out", "claim:%2e%2e/x"],
    ["a null byte", "claim:a\u0000b"],
    ["nothing", "claim:"],
    ["a very long name", `claim:${"a".repeat(600)}`],
  ])("%s", async (_, dataref) => {
    const { middleware, sent } = await sentWith({ dataref });
    expect(await refusal(incoming(middleware, sent))).toContain("which is not in claim:");
  });

  test.each([
    ["no hash", { sha256: undefined }],
    ["no size", { size: "x" }],
    ["a negative size", { size: -1 }],
    ["no reference", { dataref: 7 }],
  ])("%s", async (_, change) => {
    const { middleware, sent } = await sentWith(change);
    expect(await refusal(incoming(middleware, sent))).toContain("a reference that cannot be read");
  });

  test("a size above the limit is not read", async () => {
    const { middleware, sent } = await sentWith({ size: 1e12 });
    expect(await refusal(incoming(middleware, sent))).toContain("above the limit of 67108864");
  });

  test.each([
    ["another hash", { sha256: "0".repeat(64) }],
    ["a smaller size", { size: 4999 }],
    ["a larger size", { size: 5001 }],
  ])("%s", async (_, change) => {
    const { middleware, sent } = await sentWith(change);
    expect(await refusal(incoming(middleware, sent))).toContain("which is not what was stored");
  });

  test.each(["{", "null", "[]", "x".repeat(5000)])("a body that is none: %.10s", async (body) => {
    const { middleware, sent } = await sentWith({});
    expect(await refusal(incoming(middleware, { ...sent, body: Buffer.from(body) }))).toContain("cannot be read");
  });

  test("an object that is missing, changed, a link", async () => {
    const { folder, middleware, sent } = await sentWith({});
    const path = await onlyFile(folder);
    await writeFile(path, randomBytes(5000));
    expect(await refusal(incoming(middleware, sent))).toContain(
      `refers to ${sent.headers["dataref"]}, which is not what was stored`,
    );
    await rename(path, `${path}.moved`);
    expect(await refusal(incoming(middleware, sent))).toContain(
      `refers to ${sent.headers["dataref"]}, which is not there`,
    );
    await symlink(`${path}.moved`, path);
    expect(await refusal(incoming(middleware, sent))).toContain("which is not there");
  });
});

describe("a reference to what can be no claim is a dead letter, not an outage that stops the group", () => {
  async function sentTo(name: string) {
    const { folder, store, middleware } = setUp();
    const sent = await outgoing(middleware, wireMessage({ body: large }));
    const claim = { ...(JSON.parse(Buffer.from(sent.body ?? []).toString()) as object), dataref: `claim:${name}` };
    return { folder, store, middleware, sent: { ...sent, body: Buffer.from(JSON.stringify(claim)) } };
  }

  test.each([
    ["a folder", "2026-12-05"],
    ["a name that is longer than names can be", "a".repeat(300)],
    ["a file as if it were a folder", "2026-12-05/x/y"],
  ])("%s", async (_, name) => {
    const { store, middleware, sent } = await sentTo(name);
    await store.put("2026-12-05/x", large, never);
    expect(await refusal(incoming(middleware, sent))).toContain("which is not there");
  });

  test.skipIf(process.platform === "win32")("a pipe, into which nobody writes", async () => {
    const { folder, middleware, sent } = await sentTo("pipe");
    execFileSync("mkfifo", [join(folder, "pipe")]);
    expect(await refusal(incoming(middleware, sent))).toContain("which is not there");
  });

  const s3Error = (name: string) => Object.assign(new Error(name), { name });
  test.each([
    ["NoSuchKey", "which is not there"],
    ["KeyTooLongError", "which is not there"],
    ["InvalidObjectState", "which is not there"],
    ["InvalidRange", "which is not what was stored"],
  ])("S3 says %s", async (name, expected) => {
    const client = { ...noClient, putObject: async () => {}, getObject: () => Promise.reject(s3Error(name)) };
    const middleware = [claimCheck(s3Claims({ client, bucket: "claims" }), options)];
    const sent = await outgoing(middleware, wireMessage({ body: large }));
    expect(await refusal(incoming(middleware, sent))).toContain(expected);
  });

  test.each(["NoSuchBucket", "AccessDenied", "SlowDown"])("S3 says %s: an outage", async (name) => {
    const client = { ...noClient, putObject: async () => {}, getObject: () => Promise.reject(s3Error(name)) };
    const middleware = [claimCheck(s3Claims({ client, bucket: "claims" }), options)];
    const sent = await outgoing(middleware, wireMessage({ body: large }));
    await expect(incoming(middleware, sent)).rejects.toThrow(UnavailableError);
  });
});

describe("a store that is down", () => {
  const down: ClaimStore = {
    base: "claim:",
    put: () => Promise.reject(new Error("connection refused")),
    get: () => Promise.reject(new Error("connection refused")),
    delete: () => Promise.reject(new Error("connection refused")),
    // oxlint-disable-next-line require-yield -- it never gets so far
    async *list() {
      throw new Error("connection refused");
    },
  };

  test("is unavailable, for both", async () => {
    const { middleware } = setUp();
    const sent = await outgoing(middleware, wireMessage({ body: large }));
    const broken = [claimCheck(down, options)];
    await expect(outgoing(broken, wireMessage({ body: large }))).rejects.toThrow(UnavailableError);
    await expect(incoming(broken, sent)).rejects.toThrow(/^claimCheck: cannot read claim:.* now: connection refused$/);
    await expect(sweepClaims(down)).rejects.toThrow("connection refused");
  });

  test("does not answer: it is told to stop, and unavailable", async () => {
    const timers: (() => void)[] = [];
    const runtime = {
      wallMs: () => 0,
      id: () => "x",
      timer: (_: number, run: () => void) => (timers.push(run), () => {}),
    };
    let signal: AbortSignal | undefined;
    const silent = {
      ...down,
      put: (_: string, __: Uint8Array, given: AbortSignal) => ((signal = given), new Promise<void>(() => {})),
    };
    const sending = outgoing(
      [claimCheck(silent, { ...options, runtime: runtime as never })],
      wireMessage({ body: large }),
    );
    while (!signal) await new Promise(setImmediate);
    for (const fire of timers) fire();
    await expect(sending).rejects.toThrow("it did not answer within 30000 ms");
    expect(signal.aborted).toBe(true);
  });

  test("a folder that is not mounted is not a folder without objects", async () => {
    const { folder, middleware } = setUp();
    const sent = await outgoing(middleware, wireMessage({ body: large }));
    await rename(folder, `${folder}-away`);
    await expect(incoming(middleware, sent)).rejects.toThrow(UnavailableError);
    await mkdir(folder);
    await expect(incoming(middleware, sent)).rejects.toThrow(UnavailableError);
    await rm(folder, { recursive: true });
    await rename(`${folder}-away`, folder);
    expect(Buffer.from((await incoming(middleware, sent)).body ?? [])).toEqual(large);
  });

  test("a write that fails leaves nothing", async () => {
    const { folder, store } = setUp();
    const aborted = AbortSignal.abort(new Error("enough"));
    await expect(store.put("2026-01-01/x", large, aborted)).rejects.toThrow("aborted");
    expect(await readdir(join(folder, "2026-01-01"))).toEqual([]);
    await expect(store.put("../x", large, never)).rejects.toThrow("no object is called");
    await expect(store.delete("../x")).rejects.toThrow("no object is called");
  });
});

describe("the sweep", () => {
  /** Of others, in a folder or bucket that is not ours alone; each is older than any claim. */
  const foreign = [
    "customers.db",
    "photos/cat.jpg",
    "logs/2020-01-01/app.log",
    "backups/2020-01-01/dump",
    "2020-01-01.tar",
    `exports/${randomUUID()}`,
    `2020-99-99/${randomUUID()}`,
    `2020-01-01/${randomUUID()}.json`,
    `2020-01-01/.${randomUUID()}`,
    `x2020-01-01/${randomUUID()}`,
  ];

  test("leaves what is no claim, in a folder", async () => {
    const { folder, store, middleware } = setUp();
    for (const name of foreign) {
      await mkdir(dirname(join(folder, name)), { recursive: true });
      await writeFile(join(folder, name), "precious");
      await utimes(join(folder, name), 0, 0);
    }
    await outgoing(middleware, wireMessage({ body: large }));
    const runtime = { wallMs: () => Date.parse("2998-01-01") };
    expect(await sweepClaims(store, { runtime })).toEqual({ deleted: 1, bytes: 5000, kept: 0, errors: [] });
    for (const name of foreign) expect(await readFile(join(folder, name), "utf8")).toBe("precious");
  });

  test("leaves what is no claim, in a bucket", async () => {
    const claim = `2020-01-01/${randomUUID()}`;
    const deleted: string[] = [];
    const client: S3Like = {
      ...noClient,
      listObjectsV2: async () => ({
        Contents: [...foreign, claim].map((Key) => ({ Key, LastModified: new Date(0), Size: 1 })),
      }),
      deleteObject: async ({ Key }) => void deleted.push(Key),
    };
    expect(await sweepClaims(s3Claims({ client, bucket: "company-data" }))).toMatchObject({ deleted: 1, kept: 0 });
    expect(deleted).toEqual([claim]);
  });

  const ids = Array.from({ length: 4 }, () => randomUUID());
  const [old, young] = ids;

  test("takes what has expired and is old enough, half-written files too", async () => {
    const { folder, store } = setUp();
    const days = { gone: "2026-01-01", wanted: "2999-01-01" };
    for (const name of [
      `${days.gone}/${old}`,
      `${days.gone}/${young}`,
      `${days.wanted}/${old}`,
      `orders/eu/${days.gone}/${old}`,
      `${days.gone}/.${ids[2]}.part`,
    ]) {
      await store.put(name, large, never);
      if (!name.endsWith(String(young))) await utimes(join(folder, name), 0, 0);
    }
    const runtime = { wallMs: () => Date.parse("2026-02-01") };
    const before = await readdir(folder, { recursive: true });
    // Younger than a day by the clock of the test: written now.
    expect(await sweepClaims(store, { runtime, olderThan: "1d" })).toEqual({
      deleted: 3,
      bytes: 15_000,
      kept: 2,
      errors: [],
    });
    expect(before).toContain(`${days.gone}/${young}`);
    expect(
      (await readdir(folder, { recursive: true })).filter((name) => !name.startsWith("orders")).toSorted(),
    ).toEqual([".sluice-claims", days.gone, `${days.gone}/${young}`, days.wanted, `${days.wanted}/${old}`].toSorted());
    await utimes(join(folder, days.gone, String(young)), 0, 0);
    await sweepClaims(store, { runtime });
    expect(await readdir(folder)).not.toContain(days.gone);
  });

  test("goes on after an object that cannot be deleted, and ends when it is told to", async () => {
    const { store } = setUp();
    await store.put(`2026-01-01/${old}`, large, never);
    const stubborn = { ...store, delete: () => Promise.reject(new Error("no")) };
    const runtime = { wallMs: () => Date.parse("2999-01-01") };
    expect(await sweepClaims(stubborn, { runtime })).toMatchObject({ deleted: 0, errors: [new Error("no")] });
    expect(await sweepClaims(store, { runtime, signal: AbortSignal.abort() })).toMatchObject({ deleted: 0, kept: 0 });
  });
});

test("transfers at a time, and their memory, are bounded; one alone may be larger", async () => {
  const limiter = new Limiter(3, 100);
  let [running, bytes, most, mostBytes] = [0, 0, 0, 0];
  const order: number[] = [];
  const work = (size: number, index: number) =>
    limiter.run(size, async () => {
      order.push(index);
      [running, bytes] = [running + 1, bytes + size];
      [most, mostBytes] = [Math.max(most, running), Math.max(mostBytes, bytes)];
      await new Promise(setImmediate);
      [running, bytes] = [running - 1, bytes - size];
      if (index % 5 === 0) throw new Error("it failed");
    });
  const results = await Promise.allSettled([10, 10, 10, 10, 90, 20, 500, 10, 60, 60, 1].map(work));
  expect(results.filter(({ status }) => status === "rejected")).toHaveLength(3);
  expect(order).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  expect(most).toBe(3);
  expect(mostBytes).toBe(500);
  expect([running, bytes]).toEqual([0, 0]);
});

test("names", () => {
  for (const good of ["a", "2026-01-01/x", "a/b=1/c_d.e", "a/.x.part"]) expect(isClaimName(good)).toBe(true);
  for (const bad of ["", "/", "a/", "/a", "..", "a/..", "a//b", "a\\b", "a b", "a\n", "ä", ".a/b"])
    expect(isClaimName(bad)).toBe(false);
});

test("the client of the AWS SDK fits", () => {
  expectTypeOf<S3>().toExtend<S3Like>();
  for (const [bucket, prefix] of [
    ["", ""],
    ["b", "x"],
    ["b", "../"],
    ["B!", ""],
  ]) {
    expect(() => s3Claims({ client: noClient, bucket: bucket ?? "", prefix: prefix ?? "" })).toThrow(
      expect.objectContaining({ code: "CONFIG" }),
    );
  }
});

test("options that make no sense", () => {
  for (const wrong of [
    { threshold: 0 },
    { concurrency: 1.5 },
    { prefix: "no-slash" },
    { prefix: "../" },
    { expiry: "soon" as never },
  ]) {
    expect(() => claimCheck(fileClaims("x"), wrong)).toThrow(expect.objectContaining({ code: "CONFIG" }));
  }
  expect(() => fileClaims("")).toThrow(expect.objectContaining({ code: "CONFIG" }));
  const noStore = { base: "claim:" } as ClaimStore;
  const wrong: readonly (readonly [string, () => unknown])[] = [
    ["claimCheck: the store is undefined; give fileClaims", () => claimCheck(undefined as never)],
    ["claimCheck: the store has no put, get; give fileClaims", () => claimCheck(noStore)],
    [
      "claimCheck: the base of the store is undefined",
      () => claimCheck({ ...fileClaims("x"), base: undefined } as never),
    ],
    ["s3Claims: its argument is undefined; give", () => s3Claims(undefined as never)],
    ["s3Claims: the bucket is undefined; give its name", () => s3Claims({ client: noClient } as never)],
    ["s3Claims: the client has no putObject, getObject", () => s3Claims({ client: {} as S3Like, bucket: "claims" })],
  ];
  for (const [message, make] of wrong) {
    expect(make).toThrow(
      expect.objectContaining({ code: "CONFIG", message: expect.stringContaining(message) as string }),
    );
  }
});

test("a sweep of what is no store", async () => {
  await expect(sweepClaims({} as ClaimStore)).rejects.toThrow(
    "sweepClaims: the store has no list, delete; give fileClaims",
  );
});

test("one hostile reference does not stop a group", async () => {
  const { store, middleware } = setUp();
  await store.put("2026-12-05/x", large, never);
  const broker = new MemoryBroker();
  const bus = await connect(memory({ broker }), { middleware: { wire: middleware } });
  const Reports = topic<number>("reports", { groups: ["g"] });
  const seen: number[] = [];
  await bus.subscribe(Reports, { group: "g" }, (payload) => void seen.push(payload));
  const claim = { dataref: "claim:2026-12-05", sha256: "0".repeat(64), size: 10 };
  const headers = { "content-type": "application/vnd.sluice.claim+json" };
  const dead = bus.settled(Reports, { fate: "dead-letter" });
  broker.publish("reports", { id: "evil", body: Buffer.from(JSON.stringify(claim)), headers });
  expect(await dead).toMatchObject({ reason: "invalid" });
  const done = bus.settled(Reports, { fate: "done" });
  await bus.publish(Reports, 1);
  await done;
  expect(seen).toEqual([1]);
  await bus.close();
});

test("a body that goes on with the headers of another message has no reference of it", async () => {
  const { middleware } = setUp();
  const both = [cloudEvents({ source: "/s" }), ...middleware];
  const first = await outgoing(both, wireMessage({ body: large }));
  expect(first.headers["ce-dataref"]).toMatch(/^claim:/);
  const { "content-type": _, ...headers } = first.headers;
  const forwarded = await outgoing(both, wireMessage({ headers }));
  expect(Object.keys(forwarded.headers).filter((name) => name.includes("dataref"))).toEqual([]);
  const own = await outgoing(both, wireMessage({ headers: { "ce-dataref": "https://example.com/x" } }));
  expect(own.headers["ce-dataref"]).toBe("https://example.com/x");
});

test("on a bus: several groups, and a dead letter that names what is missing", async () => {
  const { folder, middleware } = setUp();
  const Reports = topic<{ text: string }>("reports");
  const bus = await connect(memory(), { middleware: { wire: middleware } });
  const report = { text: "x".repeat(5000) };
  const seen: string[] = [];
  for (const group of ["a", "b"]) {
    await bus.subscribe(Reports, { group }, (payload) => void (payload.text === report.text && seen.push(group)));
  }
  const both = ["a", "b"].map((group) => bus.settled(Reports, { group, fate: "done" }));
  await bus.publish(Reports, report);
  await Promise.all(both);
  expect(seen.toSorted()).toEqual(["a", "b"]);

  const late = await bus.subscribe(Reports, { group: "late" }, () => expect.fail("it was handled"));
  late.pause();
  await bus.publish(Reports, report);
  for (const name of await readdir(folder))
    if (!name.startsWith(".")) await rm(join(folder, name), { recursive: true });
  const dead = bus.settled(Reports, { group: "late", fate: "dead-letter" });
  late.resume();
  expect(await dead).toMatchObject({ reason: "invalid" });
  const { letters } = await bus.deadLetters(Reports, { group: "late" }).list();
  expect(letters).toHaveLength(1);
  for (const letter of letters) {
    expect(letter.errorMessage).toContain(letter.headers["dataref"]);
    expect(letter.errorMessage).toContain("which is not there");
  }
  await bus.close();
});
