import { memory, MemoryBroker, simulation } from "@sluice/memory";
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { describe, expect, onTestFinished, test } from "vitest";
import {
  type Codec,
  connect,
  events,
  isSluiceError,
  json,
  PermanentError,
  type SettledEvent,
  SluiceError,
  topic,
  UnavailableError,
  type WireMiddleware,
} from "../src/index.ts";

const plain = json();

/** Adds a letter in front of the bytes, and takes it off. */
function letter(name: string, seen: string[] = [], late = false): WireMiddleware {
  return {
    name,
    outgoing(message) {
      message.body = Buffer.concat([Buffer.from(name), message.body ?? Buffer.alloc(0)]);
      message.headers[`by-${name}`] = message.system;
      seen.push(`out ${name}`);
      return late ? Promise.resolve() : undefined;
    },
    incoming(message) {
      const body = Buffer.from(message.body ?? []);
      if (body.toString("utf8", 0, 1) !== name) throw new Error(`no ${name} in front`);
      message.body = body.subarray(1);
      delete message.headers[`by-${name}`];
      seen.push(`in ${name}`);
      return late ? Promise.resolve() : undefined;
    },
  };
}

describe("wire middleware", () => {
  test.each([false, true])("is applied in order, undone in the opposite order, late: %s", async (late) => {
    const seen: string[] = [];
    const broker = new MemoryBroker();
    const wire = [letter("a", seen, late), letter("b", seen, late)];
    const bus = await connect(memory({ broker }), { middleware: { wire } });
    const notes = topic<string>("notes", { groups: ["g"] });
    const onWire: string[] = [];
    await bus.provision([notes]);
    broker.watch("notes", ({ body }) => void onWire.push(Buffer.from(body ?? []).toString()));
    await bus.subscribe(notes, { group: "g" }, (payload, context) => {
      seen.push(`${payload} ${context.message.headers["by-a"]} ${context.message.headers["by-b"]}`);
    });
    const settled = bus.settled(notes);
    await bus.publish(notes, "hi");
    await settled;
    expect(onWire).toEqual(['ba"hi"']);
    expect(seen).toEqual(["out a", "out b", "in b", "in a", "hi memory memory"]);
    await bus.close();
  });

  test("a retry and a dead letter move the bytes of the wire; every attempt undoes them again", async () => {
    const broker = new MemoryBroker();
    const bus = await connect(memory({ broker }), { middleware: { wire: [letter("a")] } });
    const notes = topic<string>("moved-notes", { groups: ["g"] });
    const payloads: string[] = [];
    const retry = { attempts: 3, firstDelay: 20, maxDelay: 20, inPlace: 0 };
    await bus.subscribe(notes, { group: "g", retry }, (payload) => {
      payloads.push(payload);
      throw new Error("not today");
    });
    const fates: string[] = [];
    const dead = Promise.withResolvers<void>();
    const listen = (event: unknown) => {
      const { topic: name, fate } = event as SettledEvent;
      if (name === notes.name) fates.push(fate);
      if (name === notes.name && fate === "dead-letter") dead.resolve();
    };
    subscribe(events.settled.name, listen);
    onTestFinished(() => void unsubscribe(events.settled.name, listen));
    await bus.publish(notes, "hi");
    await dead.promise;
    // A wait that is drawn as nothing is waited in place.
    expect(new Set(fates.slice(0, -1))).toEqual(new Set(fates.length > 1 ? ["retry"] : []));
    expect(payloads).toEqual(["hi", "hi", "hi"]);
    const [kept] = broker.deadLetters(notes.name, "g");
    expect(Buffer.from(kept?.body ?? []).toString()).toBe('a"hi"');
    expect(kept?.headers["by-a"]).toBe("memory");
    await bus.close();
  });

  test("what cannot be undone is a dead letter with its bytes, and the next message flows", async () => {
    const broker = new MemoryBroker();
    const bus = await connect(memory({ broker }), { middleware: { wire: [letter("a")] } });
    const notes = topic<string>("notes", { groups: ["g"] });
    const payloads: string[] = [];
    await bus.subscribe(notes, { group: "g" }, (payload) => void payloads.push(payload));
    const refused = bus.settled(notes);
    broker.publish("notes", { key: null, body: Buffer.from('"plain"'), headers: {} });
    expect(await refused).toMatchObject({ fate: "dead-letter", reason: "invalid" });
    const handled = bus.settled(notes);
    await bus.publish(notes, "hi");
    expect((await handled).fate).toBe("done");
    expect(payloads).toEqual(["hi"]);
    const [dead] = broker.deadLetters("notes", "g");
    expect(dead?.headers["dlq-error-message"]).toContain("cannot be read by a: no a in front");
    await bus.close();
  });

  test("something that is down holds the message without counting an attempt", async () => {
    const clock = simulation();
    const { runtime } = clock;
    let down = 3;
    const shaky: WireMiddleware = {
      name: "shaky",
      incoming() {
        if (down-- > 0) return Promise.reject(new UnavailableError("store is away"));
      },
    };
    const bus = await connect(memory({ broker: new MemoryBroker() }), {
      runtime,
      middleware: { wire: [shaky] },
    });
    const notes = topic<string>("notes", { groups: ["g"] });
    const attempts: number[] = [];
    await bus.subscribe(notes, { group: "g" }, (_payload, { message }) => void attempts.push(message.attempt));
    const settled = bus.settled(notes);
    await bus.publish(notes, "hi");
    await clock.advance(120_000);
    expect((await settled).fate).toBe("done");
    expect(attempts).toEqual([1]);
    await bus.close();
  });

  test("errors of a publish: down, refused, no bytes; nothing was sent", async () => {
    const broker = new MemoryBroker();
    const unsaid = new SluiceError("CONFIG", "no outcome");
    const errors = [new UnavailableError("away"), new PermanentError("never"), unsaid, undefined];
    const outgoing: WireMiddleware = {
      name: "breaker",
      outgoing(message) {
        const error = errors.shift();
        if (error) throw error;
        message.body = null;
      },
    };
    const bus = await connect(memory({ broker }), { middleware: { wire: [outgoing] } });
    const notes = topic<string>("notes", { groups: ["g"] });
    const codes = [];
    for (let index = 0; index < 4; index++) {
      const error: unknown = await bus.publish(notes, "hi").catch((each: unknown) => each);
      codes.push(isSluiceError(error) ? [error.code, error.outcome] : error);
    }
    expect(codes).toEqual([
      ["UNAVAILABLE", "not-stored"],
      ["INVALID_PAYLOAD", "not-stored"],
      ["CONFIG", "not-stored"],
      ["INVALID_PAYLOAD", "not-stored"],
    ]);
    expect(broker.depth("notes", "g").ready).toBe(0);
    await bus.close();
  });
});

describe("a codec that takes its time", () => {
  test("keeps the order of publishes, and reads", async () => {
    const gates: (() => void)[] = [];
    const slow: Codec = {
      contentType: "application/json",
      encode: (payload, message) =>
        new Promise((resolve) => {
          message.headers["written-for"] = message.topic;
          gates.push(() => resolve(plain.encode(payload)));
        }),
      decode: async (body) => plain.decode(body),
    };
    const bus = await connect(memory({ broker: new MemoryBroker() }));
    const notes = topic<number>("notes", { codec: slow, groups: ["g"] });
    const got: unknown[] = [];
    const all = Promise.withResolvers<void>();
    await bus.subscribe(notes, { group: "g", concurrency: 1 }, (payload, { message }) => {
      got.push([payload, message.headers["written-for"]]);
      if (got.length === 3) all.resolve();
    });
    const receipts = [1, 2, 3].map((n) => bus.publish(notes, n));
    while (gates.length < 3) await new Promise(setImmediate);
    for (const open of gates.toReversed()) open();
    await Promise.all(receipts);
    await all.promise;
    expect(got).toEqual([1, 2, 3].map((n) => [n, "notes"]));
    await bus.close();
  });

  test("ends at the deadline of its publish", async () => {
    const clock = simulation();
    const { runtime } = clock;
    const never: Codec = { contentType: "a/b", encode: () => new Promise(() => {}), decode: () => undefined };
    const bus = await connect(memory({ broker: new MemoryBroker() }), { runtime });
    const notes = topic("notes", { codec: never, groups: ["g"] });
    const failed = bus.publish(notes, 1, { deadline: "1s" }).catch((error: unknown) => error);
    await clock.advance(1_001);
    expect(await failed).toMatchObject({ code: "TIMEOUT", outcome: "not-stored" });
    const closing = bus.close();
    await clock.advance(60_000);
    await closing;
  });

  test("says itself what it reads", async () => {
    const broker = new MemoryBroker();
    const bus = await connect(memory({ broker }));
    const codec: Codec = { ...json(), accepts: (contentType) => contentType.endsWith("+json") };
    const notes = topic<string>("notes", { codec, groups: ["g"] });
    await bus.subscribe(notes, { group: "g" }, () => {});
    for (const [contentType, fate] of [
      ["application/vnd.note+json", "done"],
      ["text/plain", "dead-letter"],
    ] as const) {
      const settled = bus.settled(notes);
      broker.publish("notes", { key: null, body: plain.encode("hi"), headers: { "content-type": contentType } });
      expect((await settled).fate).toBe(fate);
    }
    await bus.close();
  });
});

test("the bus explains the way of a message", async () => {
  const named = { seal: letter("seal"), wrap: letter("wrap") };
  const bus = await connect(memory({ broker: new MemoryBroker() }), {
    middleware: {
      publish: [
        async function stamp(_draft, next) {
          await next();
        },
      ],
      delivery: [
        async function once(_context, next) {
          return next();
        },
      ],
      attempt: [
        async function limit(_context, next) {
          return next();
        },
      ],
      wire: [named.wrap, named.seal],
    },
  });
  expect(bus.explain().split("\n")).toEqual([
    "memory out: schema > stamp > codec > wrap > seal > broker",
    "memory in: broker > once > retry and dead letter > seal > wrap > codec > schema > limit > handler",
  ]);
  await bus.close();
});
