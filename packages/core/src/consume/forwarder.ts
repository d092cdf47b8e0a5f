import { bytes } from "../codec.ts";
import type { Context } from "../context.ts";
import type { Delivery, Destination } from "../driver/index.ts";
import { type ErrorCode, SluiceError, UnavailableError } from "../errors.ts";
import { topic } from "../topic.ts";
import { HandlerContext } from "./handler-context.ts";
import { assemble, type BusParts } from "./open.ts";
import type { Settings } from "./settings.ts";
import type { Subscription } from "./subscription.ts";

/** Never the name of a user's topic: the source has none. */
const waiting = { ...topic("delayed", { codec: bytes() }), name: "" };

/** Codes that say something about the broker, not about one destination. */
const away = new Set<ErrorCode>(["UNAVAILABLE", "TIMEOUT", "CLOSED"]);

/** What cannot be sent on waits so long in its waiting place before it is tried again. */
const againMs = 60_000;

const settings: Settings = {
  transactional: false,
  name: "forwarder",
  broadcast: true, // what fails stays here: there is no entry to move it to
  ordered: false,
  start: "earliest",
  concurrency: 256,
  window: 1024,
  windowBytes: 64 * 1024 * 1024,
  timeoutMs: 0,
  policy: {
    attempts: Number.POSITIVE_INFINITY,
    firstDelayMs: 100,
    factor: 2,
    maxDelayMs: 30_000,
    inPlaceMs: Number.POSITIVE_INFINITY,
  },
  deadLetter: false,
  filter: undefined,
  nativeFilter: undefined,
};

/**
 * For drivers whose delays are waiting places: reads what is due, sends it on, accepts it. Every bus that uses delays runs one;
 * together they share the work, so delayed messages go on as long as one of them lives, and wait while none does.
 */
export function makeForwarder(bus: BusParts): Subscription {
  return assemble(bus, {
    topics: [waiting],
    settings,
    sources: [{ delayed: true }],
    middleware: { wire: [], delivery: [], attempt: [] },
    run: (_payload, context) => forward(bus, context),
    decode: () => undefined,
  });
}

async function forward(bus: BusParts, context: Context): Promise<void> {
  if (!(context instanceof HandlerContext)) throw new TypeError("the forwarder runs inside the engine");
  const { delivery } = context;
  const { forward: next } = delivery;
  if (!next) throw new SluiceError("UNKNOWN", `sluice: a delayed record ${delivery.id} has no destination`);
  const error = await send(bus, delivery, next.to, next.notBefore);
  if (!error) return;
  if (away.has(error.code)) throw new UnavailableError(error.message, { cause: error });
  // n.b. A destination that is gone must not hold up the others: held here, a window full of its messages would.
  const refused = await send(bus, delivery, next.to, bus.runtime.wallMs() + againMs);
  if (refused) throw refused;
}

function send(bus: BusParts, delivery: Delivery, to: Destination, notBefore: number): Promise<SluiceError | undefined> {
  const { id = "", key, body, headers, time = 0, shard } = delivery;
  const record = { id, dedupId: `${id}/${notBefore}/${shard}`, key, body, headers, time };
  return new Promise((resolve) => bus.sendCopy({ to, from: delivery, notBefore, record }, resolve));
}
