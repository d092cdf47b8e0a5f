import { isSluiceError, type Runtime, type SluiceError } from "@sluice/core";
import { simulation } from "@sluice/memory";
import { type Registry, registry, type RegistryOptions } from "@sluice/schema/registry";
import { describe, expect, test } from "vitest";
import { base, FakeRegistry, json, orderGuid, orderText } from "./registry-support.ts";

const order = { schemaType: "AVRO", schema: orderText } as const;

function setUp(options: Partial<RegistryOptions> = {}) {
  const server = new FakeRegistry();
  const clock = simulation();
  const client = registry({ url: base, fetch: server.fetch, runtime: clock.runtime, ...options });
  return { server, clock, client };
}

async function failure(work: Promise<unknown>): Promise<SluiceError> {
  const error: unknown = await work.then(
    () => "no error",
    (thrown: unknown) => thrown,
  );
  if (isSluiceError(error)) return error;
  throw new Error(`not a SluiceError: ${String(error)}`);
}

describe("what it asks", () => {
  test("register, find, read", async () => {
    const { client, server } = setUp();
    expect(await client.register("orders-value", order)).toEqual({ id: 1, guid: orderGuid, version: undefined });
    expect(await client.find("orders-value", order)).toEqual({ id: 1, guid: orderGuid, version: 1 });
    expect(await client.byId(1)).toEqual({ ...order, references: [] });
    expect(await client.byGuid(orderGuid)).toEqual({ ...order, references: [] });
    expect(await client.version("orders-value", 1)).toMatchObject({ id: 1, version: 1, subject: "orders-value" });
    expect(await client.latest("orders-value")).toMatchObject({ id: 1, version: 1 });
    expect(await client.subjects()).toEqual(["orders-value"]);
    expect(server.requests).toEqual([
      "POST /subjects/orders-value/versions",
      "POST /subjects/orders-value",
      "GET /schemas/ids/1",
      `GET /schemas/guids/${orderGuid}`,
      "GET /subjects/orders-value/versions/1",
      "GET /subjects/orders-value/versions/latest",
      "GET /subjects",
    ]);
  });

  test("names of subjects are encoded, contexts included", async () => {
    const paths: string[] = [];
    const client = registry({ url: `${base}/`, fetch: async (url) => (paths.push(url), json(200, { id: 1 })) });
    await client.register(":.other:a/b ü-value", order);
    expect(paths).toEqual([`${base}/subjects/%3A.other%3Aa%2Fb%20%C3%BC-value/versions`]);
    expect(client.url).toBe(base);
  });

  test("compatibility: check and levels", async () => {
    const { client, server } = setUp();
    const bodies: unknown[] = [];
    server.failing = (call, { body }) => {
      if (typeof body === "string") bodies.push(JSON.parse(body));
      if (call.startsWith("POST /compatibility")) return json(200, { is_compatible: false, messages: ["qty changed"] });
      if (call.startsWith("PUT")) return json(200, { compatibility: "FULL" });
      if (call === "GET /config") return json(200, { compatibilityLevel: "BACKWARD" });
      return call.includes("own") ? json(200, { compatibilityLevel: "FULL" }) : undefined;
    };
    expect(await client.check("a", { ...order, schemaType: "JSON" })).toEqual({
      compatible: false,
      messages: ["qty changed"],
    });
    await client.check("a", order, "all");
    await client.setCompatibility("FULL", "own");
    await client.setCompatibility("FULL");
    expect([await client.compatibility("own"), await client.compatibility("other")]).toEqual(["FULL", "BACKWARD"]);
    expect(server.requests).toEqual([
      "POST /compatibility/subjects/a/versions/latest?verbose=true",
      "POST /compatibility/subjects/a/versions?verbose=true",
      "PUT /config/own",
      "PUT /config",
      "GET /config/own?defaultToGlobal=true",
      "GET /config/other?defaultToGlobal=true",
      "GET /config",
    ]);
    expect(bodies).toEqual([
      { schema: orderText, schemaType: "JSON" },
      { schema: orderText },
      { compatibility: "FULL" },
      { compatibility: "FULL" },
    ]);
  });

  test("references are resolved, what is needed first", async () => {
    const { client, server } = setUp();
    const to = (name: string) => ({ name, subject: name, version: 1 });
    server.add("a", '"a"', { references: [] });
    server.add("b", '"b"', { references: [to("a")] });
    server.add("c", '"c"', { references: [to("b"), to("a")] });
    const found = await client.resolved({ id: server.add("d", '"d"', { references: [to("c"), to("b")] }) });
    expect(found.references.map(({ name }) => name)).toEqual(["a", "b", "c"]);
    expect(server.requests).toHaveLength(4);
  });
});

describe("what it keeps", () => {
  test("ids and versions for ever, at most as many as allowed", async () => {
    const { client, clock, server } = setUp({ cache: { entries: 2 } });
    for (const text of ['"a"', '"b"', '"c"']) server.add("s", text);
    const read = async (...ids: number[]) => {
      for (const id of ids) await client.byId(id);
      return server.requests.length;
    };
    expect(await read(1, 2, 1)).toBe(2);
    await clock.advance(86_400_000);
    expect(await read(2, 1)).toBe(2);
    expect(await read(3, 1)).toBe(3);
    expect(await read(2)).toBe(4);
  });

  test("latest for a minute, and not after a registration", async () => {
    const { client, clock, server } = setUp();
    server.add("s", '"a"');
    expect(await client.latest("s")).toMatchObject({ version: 1 });
    server.add("s", '"b"');
    await clock.advance(59_000);
    expect(await client.latest("s")).toMatchObject({ version: 1 });
    await clock.advance(2000);
    expect(await client.latest("s")).toMatchObject({ version: 2 });
    await client.register("s", { schemaType: "AVRO", schema: '"c"' });
    expect(await client.latest("s")).toMatchObject({ version: 3 });
  });

  test("what is missing for five seconds; each caller gets an error of its own", async () => {
    const { client, clock, server } = setUp();
    const [one, other] = [await failure(client.byId(7)), await failure(client.byId(7))];
    expect([one.code, other.code, other.message, server.requests.length]).toEqual([
      "NOT_FOUND",
      "NOT_FOUND",
      one.message,
      1,
    ]);
    expect(other).not.toBe(one);
    await clock.advance(5001);
    await failure(client.byId(7));
    expect(server.requests).toHaveLength(2);
  });

  test("what was missing is found once we registered it", async () => {
    const { client } = setUp();
    expect((await failure(client.find("s", order))).code).toBe("NOT_FOUND");
    expect((await failure(client.latest("s"))).code).toBe("NOT_FOUND");
    await client.register("s", order);
    expect(await client.find("s", order)).toMatchObject({ version: 1 });
    expect(await client.latest("s")).toMatchObject({ version: 1 });
  });

  test("one request at a time per thing", async () => {
    const { client, server } = setUp();
    await Promise.all(Array.from({ length: 20 }, () => client.register("s", order)));
    await Promise.all(Array.from({ length: 20 }, () => client.byId(1)));
    expect(server.requests).toHaveLength(2);
    const errors = await Promise.all(Array.from({ length: 20 }, () => failure(client.byId(9))));
    expect(errors).toHaveLength(20);
    expect(server.requests).toHaveLength(3);
  });
});

describe("what goes wrong", () => {
  const jitter = (runtime: Runtime): Runtime => ({ ...runtime, random: () => 1 });

  test.each([408, 429, 500, 502, 503, 504])("%i is tried three times, with growing waits", async (status) => {
    const clock = simulation();
    const { client, server } = setUp({ runtime: jitter(clock.runtime) });
    const at: number[] = [];
    server.failing = () => (at.push(clock.runtime.monotonicMs()), json(status, { error_code: status, message: "no" }));
    const error = await clock.run(failure(client.byId(1)));
    expect(error).toMatchObject({
      code: "UNAVAILABLE",
      message: expect.stringContaining(`answered ${status}: no`) as string,
    });
    expect(at.map((ms) => ms - (at[0] ?? 0))).toEqual([0, 1000, 3000]);
  });

  test("the network, too; the second answer counts", async () => {
    const { client, clock, server } = setUp();
    server.add("s", '"a"');
    server.failing = () => {
      server.failing = undefined;
      throw new TypeError("fetch failed", { cause: Object.assign(new Error("refused"), { code: "ECONNREFUSED" }) });
    };
    expect(await clock.run(client.byId(1))).toMatchObject({ schema: '"a"' });
    server.failing = () => {
      throw new TypeError("fetch failed", { cause: Object.assign(new Error("refused"), { code: "ECONNREFUSED" }) });
    };
    expect((await clock.run(failure(client.byId(2)))).message).toContain("fetch failed: refused (ECONNREFUSED)");
  });

  test("Retry-After is honoured", async () => {
    const { client, clock, server } = setUp();
    server.add("s", '"a"');
    server.failing = () => {
      server.failing = undefined;
      return new Response("{}", { status: 429, headers: { "retry-after": "7" } });
    };
    const start = clock.now();
    await clock.run(client.byId(1));
    expect(clock.now() - start).toBe(7000);
  });

  test.each([
    [400, 400, "CONFIG"],
    [401, 40101, "UNAUTHORIZED"],
    [403, 40301, "FORBIDDEN"],
    [404, 40403, "NOT_FOUND"],
    [404, 0, "UNSUPPORTED"],
    [409, 40901, "MISMATCH"],
    [422, 42201, "CONFIG"],
  ])("%i (%i) is %s at once", async (status, number, code) => {
    const { client, server } = setUp();
    server.failing = () => json(status, { error_code: number, message: "because" });
    const error = await failure(client.register("s", order));
    expect(error).toMatchObject({ code, issues: [{ path: "", message: "because" }] });
    expect(server.requests).toHaveLength(1);
  });

  test("silence ends a request, and all of them the call", async () => {
    const { client, clock, server } = setUp({ deadline: "12s" });
    const signals: unknown[] = [];
    server.failing = (_call, { signal }) => (signals.push(signal), new Promise(() => {}));
    const start = clock.now();
    const error = await clock.run(failure(client.byId(1)));
    expect(error).toMatchObject({
      code: "UNAVAILABLE",
      message: expect.stringContaining("did not answer within") as string,
    });
    expect(clock.now() - start).toBeLessThanOrEqual(12_000);
    expect(signals.every((signal) => signal instanceof AbortSignal && signal.aborted)).toBe(true);
    expect(clock.timers).toBe(0);
  });

  test("a body that never ends is cut off in time and in size", async () => {
    const { client, clock, server } = setUp({ retry: { attempts: 1 } });
    server.failing = () => new Response(new ReadableStream({ pull: () => new Promise(() => {}) }));
    expect((await clock.run(failure(client.byId(1)))).message).toContain("did not answer within 5000 ms");
    server.failing = () => new Response(new ReadableStream({ pull: (it) => it.enqueue(new Uint8Array(65_536)) }));
    expect(await failure(client.byId(1))).toMatchObject({
      code: "UNKNOWN",
      message: expect.stringContaining("2097152 bytes") as string,
    });
  });

  test("an aborted call ends at once; who asked for the same goes on", async () => {
    const { client, server } = setUp();
    server.add("s", '"a"');
    const gate = Promise.withResolvers<Response | undefined>();
    server.failing = () => gate.promise;
    const controller = new AbortController();
    const [aborted, other] = [failure(client.byId(1, { signal: controller.signal })), client.byId(1)];
    controller.abort(new Error("enough"));
    expect(await aborted).toMatchObject({ code: "ABORTED", cause: new Error("enough") });
    gate.resolve(undefined);
    expect(await other).toMatchObject({ schema: '"a"' });
    expect((await failure(client.byId(1, { signal: AbortSignal.abort() }))).code).toBe("ABORTED");
    expect(server.requests).toHaveLength(1);
  });

  test("a redirect is not followed", async () => {
    const { client, server } = setUp();
    server.failing = () =>
      new Response(null, { status: 302, headers: { location: "https://login.test/sso?state=secret" } });
    const error = await failure(client.byId(1));
    expect(error).toMatchObject({
      code: "CONFIG",
      message: expect.stringContaining("https://login.test/sso:") as string,
    });
    expect(error.message).not.toContain("secret");
  });
});

describe("credentials", () => {
  const secret = "p@ss-word:1";
  const basic = `Basic ${Buffer.from(`user:${secret}`).toString("base64")}`;

  test("go along, from the option, the URL or a function", async () => {
    const inUrl = `http://user:${encodeURIComponent(secret)}@registry.test/api`;
    const sent: unknown[] = [];
    const ask = async (options: Partial<RegistryOptions>) => {
      const { client, server } = setUp(options);
      await client.subjects();
      sent.push(server.headers[0]?.get("authorization"));
    };
    await ask({ auth: { username: "user", password: secret } });
    await ask({ url: inUrl });
    await ask({ auth: { token: "abc" } });
    await ask({ auth: { token: async () => "fresh" } });
    await ask({});
    expect(sent).toEqual([basic, basic, "Bearer abc", "Bearer fresh", null]);
  });

  test("are in no message, even when the registry repeats them", async () => {
    const echo = (_call: string, { headers }: RequestInit) =>
      json(401, { error_code: 401, message: `no: ${JSON.stringify(headers)} ${secret}` });
    for (const url of [base, `http://user:${encodeURIComponent(secret)}@registry.test/api`]) {
      const { client, server } = setUp({ url, ...(url === base && { auth: { token: "long-token" } }) });
      server.failing = echo;
      const error = await failure(client.subjects());
      const shown = JSON.stringify([error, error.message, error.issues, error.cause, error.stack]);
      for (const hidden of url === base ? ["long-token"] : [basic.slice(6), secret])
        expect(shown).not.toContain(hidden);
      expect(error.code).toBe("UNAUTHORIZED");
    }
  });

  test("that HTTP cannot carry are refused without being shown", async () => {
    const { client } = setUp({ auth: { token: "line\nbreak" } });
    const error = await failure(client.subjects());
    expect(error.code).toBe("CONFIG");
    expect(String(error.stack)).not.toContain("break");
    expect(() => registry({ url: base, headers: { "x-key": "se\ncret" } })).toThrow(/"x-key", which HTTP cannot carry/);
  });

  test("a token function that fails is an outage, and is asked again", async () => {
    let calls = 0;
    const token = () => {
      if (++calls < 3) throw new Error("identity provider down");
      return "ok";
    };
    const { client, clock } = setUp({ auth: { token } });
    await clock.run(client.subjects());
    expect(calls).toBe(3);
  });
});

test.each([
  [{ url: "registry.test" }, /"url" is no http/],
  [{ url: "ftp://user:hidden@registry.test" }, /"url" is no http/],
  [{ url: base, timeout: 0 }, /"timeout" is 0/],
  [{ url: base, retry: { attempts: 0 } }, /"retry.attempts" is 0/],
  [{ url: base, cache: { latest: "soon" as "1s" } }, /registry.cache.latest is "soon"/],
])("options %j are refused", (options, message) => {
  expect(() => registry(options)).toThrow(message);
  expect(() => registry(options)).not.toThrow("hidden");
});

describe("a hostile registry", () => {
  const deep = `${"[".repeat(100_000)}${"]".repeat(100_000)}`;
  const answers: readonly string[] = [
    "",
    "null",
    "[]",
    "7",
    '"text"',
    "<html>",
    deep,
    `{"schema":${deep}}`,
    '{"schema":7}',
    '{"schema":"x","schemaType":"XML"}',
    '{"schema":"x","references":7}',
    '{"schema":"x","references":[null]}',
    '{"schema":"x","references":[{"name":"a","subject":"b","version":-1}]}',
    `{"schema":"x","references":[${Array.from({ length: 1001 }, () => '{"name":"a","subject":"b","version":1}').join(",")}]}`,
    '{"__proto__":{"schema":"x"}}',
    '{"id":1e99,"schema":"x","version":1,"subject":"s"}',
    '{"id":1,"guid":"../../x","schema":"x","version":1,"subject":"s"}',
    '{"is_compatible":"yes"}',
    '{"compatibilityLevel":"SIDEWAYS"}',
    `{"error_code":40403,"message":${JSON.stringify("x".repeat(100_000))}}`,
  ];
  const calls: Readonly<Record<string, (client: Registry) => Promise<unknown>>> = {
    byId: (client) => client.resolved({ id: 1 }),
    register: (client) => client.register("s", order),
    find: (client) => client.find("s", order),
    latest: (client) => client.latest("s"),
    check: (client) => client.check("s", order),
    compatibility: (client) => client.compatibility("s"),
    subjects: (client) => client.subjects(),
    versions: (client) => client.versions("s"),
  };
  /** Nothing is wrong with these for who does not look at the odd field. */
  const isHarmless = (name: string, answer: string): boolean =>
    (answer === "[]" && /^(?:subjects|versions)$/.test(name)) ||
    (name === "byId" && /^\{"id":.*"schema":"x"/.test(answer));

  test.each(Object.entries(calls))("%s: an error with a code for each answer", async (name, call) => {
    for (const status of [200, 404, 409]) {
      for (const answer of answers) {
        const { client, server } = setUp();
        server.failing = () => new Response(answer, { status });
        if (status === 200 && isHarmless(name, answer)) continue;
        const error = await failure(call(client));
        expect(error.message.length).toBeLessThan(2000);
      }
    }
  });

  test("references in a circle, without end, or with two faces", async () => {
    const { client, server } = setUp();
    const to = (name: string, subject = name) => ({ name, subject, version: 1 });
    const schema = (references: unknown) => json(200, { id: 1, version: 1, subject: "s", schema: "x", references });
    server.failing = (call) => schema([to(call.includes("/subjects/a/") ? "b" : "a")]);
    expect((await failure(client.resolved({ id: 1 }))).message).toContain("in a circle");
    let number = 0;
    server.failing = () => schema([to(`n${number++}`)]);
    expect((await failure(client.resolved({ id: 2 }))).message).toContain("too many");
    server.failing = (call) =>
      call.includes("ids") ? schema(Array.from({ length: 1000 }, (_, n) => to(`w${n}`))) : schema([]);
    expect((await failure(client.resolved({ id: 3 }))).message).toContain("too many");
    server.failing = (call) =>
      call.includes("ids")
        ? schema([to("x", "one"), to("x", "two")])
        : json(200, { id: 1, version: 1, subject: "s", schema: call });
    expect((await failure(client.resolved({ id: 4 }))).message).toContain("two different schemas");
  });
});
