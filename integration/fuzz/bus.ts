import { subscribe, unsubscribe } from "node:diagnostics_channel";
import {
  type AnyTopic,
  type Bus,
  connect,
  type ConnectOptions,
  events,
  json,
  PermanentError,
  type SettledEvent,
  topic,
  UnavailableError,
  type WireMiddleware,
} from "@sluice/core";
import { memory, MemoryBroker } from "@sluice/memory";
import { cloudEvents, compress, correlation, encrypt, filter, log } from "@sluice/middleware";
import { Chance, seedOf } from "./chance.ts";
import { type Claims, openClaims } from "./claims.ts";
import { hostile } from "./hostile.ts";
import type { Target } from "./target.ts";
import { codecs } from "./targets/schema.ts";

/** What became of messages with hostile bodies and headers. */
export interface Account {
  readonly sent: number;
  /** A handler got it. */
  readonly handled: number;
  /** With their own bytes. */
  readonly deadLettered: number;
  /** Its own header says that it has expired. */
  readonly dropped: number;
  /** Whatever is not as it should be. */
  readonly problems: readonly string[];
}

const group = "billing";
/** Messages under way at a time. */
const portion = 500;

/** Puts hostile messages into a memory broker, and finds each of them handled, or among the dead letters with its own bytes. */
export async function account(inputs: number, seed: number): Promise<Account> {
  const broker = new MemoryBroker();
  const claims = await openClaims();
  const fates = new Fates();
  const bus = await connect(memory({ broker }), { middleware: middleware(claims, fates.problems) });
  const handled: string[] = [];
  const topics = Object.entries({ ...codecs(), claims: claimed(claims) }).map(([name, { codec, schema, golden }]) => ({
    target: { name, golden, run: () => undefined, expected: () => true } satisfies Target,
    topic: topic(`fuzz.${name}`, { codec, groups: [group], ...(schema && { schema }) }),
  }));
  try {
    for (const each of topics) {
      await bus.subscribe(
        each.topic,
        { group, retry: { attempts: 1 } },
        (_payload, { message }) => void handled.push(message.id),
      );
    }
    for (let first = 0; first < inputs; first += portion) {
      const sent = new Map<string, Buffer | null>();
      const ended = fates.expect(Math.min(portion, inputs - first));
      for (let index = first; index < Math.min(inputs, first + portion); index++) {
        const own = seedOf(seed ^ 0x5bd1e995, index);
        const chance = new Chance(own);
        const { target, topic: to } = chance.pick(topics);
        const { bytes, headers } = hostile(target, own, chance);
        const [id, body] = [`m-${index}`, chance.once(50) ? null : bytes];
        sent.set(id, body);
        broker.publish(to.name, { id, body, headers, time: 0 });
      }
      await ended;
      for (const { topic: of } of topics) {
        if (first === 0) await redrive(broker, bus, of, fates);
        fates.problems.push(...(await letters(broker, bus, of, sent)));
      }
    }
  } finally {
    await bus.close();
    fates.close();
    claims.close();
  }
  return fates.account(inputs, new Set(handled).size);
}

/** All that read foreign bytes and headers. */
function middleware(claims: Claims, problems: string[]): NonNullable<ConnectOptions["middleware"]> {
  const keys = { current: "key-1", get: () => Buffer.alloc(32, 7) };
  const wire = [
    cloudEvents({ source: "/fuzz" }),
    compress(),
    encrypt({ keys, plaintext: "accept" }),
    claims.middleware,
  ].map((each) => neverDown(each, problems));
  return { ...correlation({ ambient: true }), delivery: [log(), filter(() => true)], wire };
}

/** Nothing is down here: a message that says so would hold up its group for ever. */
function neverDown(inner: WireMiddleware, problems: string[]): WireMiddleware {
  return {
    ...inner,
    async incoming(message, context) {
      try {
        await inner.incoming?.(message, context);
      } catch (cause) {
        if (!(cause instanceof UnavailableError)) throw cause;
        problems.push(`${message.id}: ${cause.message}`);
        throw new PermanentError(cause.message, { cause });
      }
    },
  };
}

/** Bodies that are in the store, and some that nobody can have put there. */
function claimed({ claim, golden, hostileNames }: Claims): ReturnType<typeof codecs>[string] {
  const { headers } = golden;
  return { codec: json(), golden: [golden, ...hostileNames.map((name) => ({ bytes: claim(name), headers }))] };
}

/** Back to their group, where each must end once more. */
async function redrive(broker: MemoryBroker, bus: Bus, of: AnyTopic, fates: Fates): Promise<void> {
  const dead = broker.deadLetters(of.name, group);
  const ended = fates.expect(dead.length);
  for (const { id = "" } of dead) fates.forget(id);
  const { redriven } = await bus.deadLetters(of, { group }).redrive();
  if (redriven !== dead.length) fates.problems.push(`${of.name}: ${redriven} of ${dead.length} dead letters went back`);
  await ended;
}

/** Reads the dead letters as an operator would, compares their bytes, and throws them away. */
async function letters(
  broker: MemoryBroker,
  bus: Bus,
  of: AnyTopic,
  sent: ReadonlyMap<string, Buffer | null>,
): Promise<string[]> {
  const deadLetters = bus.deadLetters(of, { group });
  for (let after: string | undefined, more = true; more;) {
    const { next } = await deadLetters.list({ max: 100, ...(after !== undefined && { after }) });
    more = next !== undefined;
    after = next;
  }
  const changed = broker
    .deadLetters(of.name, group)
    .filter(({ id = "", body }) => !same(body, sent.get(id)))
    .map(({ id }) => `${id}: a dead letter with other bytes`);
  await deadLetters.discard();
  return changed;
}

function same(body: Uint8Array | null, sent: Buffer | null | undefined): boolean {
  if (body === null || sent === null || sent === undefined) return body === sent;
  return Buffer.compare(body, sent) === 0;
}

const final: ReadonlySet<string> = new Set(["done", "drop", "dead-letter"]);

/** The last words about messages, as core publishes them. */
class Fates {
  readonly problems: string[] = [];
  readonly #fates = new Map<string, string>();
  #left = 0;
  #done: () => void = () => undefined;
  readonly #listen = (event: unknown): void => this.#settled(event as SettledEvent);

  constructor() {
    subscribe(events.settled.name, this.#listen);
  }

  /** Resolves when so many more have ended. */
  expect(count: number): Promise<void> {
    this.#left = count;
    if (count === 0) return Promise.resolve();
    return new Promise((resolve) => (this.#done = resolve));
  }

  forget(id: string): void {
    if (this.#fates.get(id) !== "dead-letter")
      this.problems.push(`${id}: a dead letter that ended as ${this.#fates.get(id)}`);
    this.#fates.delete(id);
  }

  #settled({ id, fate, topic: of }: SettledEvent): void {
    // n.b. A header may say that a message killed its processes: it then runs alone, and what waits goes back meanwhile.
    if (!of.startsWith("fuzz.") || !final.has(fate)) return;
    if (this.#fates.has(id)) this.problems.push(`${id}: ended twice, ${this.#fates.get(id)} and ${fate}`);
    this.#fates.set(id, fate);
    this.#left--;
    if (this.#left === 0) this.#done();
  }

  account(sent: number, handled: number): Account {
    const all = [...this.#fates.values()];
    const count = (fate: string) => all.filter((each) => each === fate).length;
    const [done, deadLettered, dropped] = [count("done"), count("dead-letter"), count("drop")];
    if (done !== handled) this.problems.push(`${handled} reached the handler, and ${done} are done`);
    if (done + deadLettered + dropped !== sent)
      this.problems.push(`${sent - done - deadLettered - dropped} of ${sent} are lost`);
    return { sent, handled, deadLettered, dropped, problems: this.problems };
  }

  close(): void {
    unsubscribe(events.settled.name, this.#listen);
  }
}
