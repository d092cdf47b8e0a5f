import { bytes } from "../codec.ts";
import type { Context } from "../context.ts";
import type { SendItem } from "../driver/index.ts";
import { type ErrorCode, SluiceError, UnavailableError } from "../errors.ts";
import { topic } from "../topic.ts";
import { HandlerContext } from "./handler-context.ts";
import type { SendCopy } from "./mover.ts";
import { assemble, type BusParts } from "./open.ts";
import type { Settings } from "./settings.ts";
import type { Subscription } from "./subscription.ts";

/** Never the name of a user's topic: the source has none. */
const waiting = { ...topic("delayed", { codec: bytes() }), name: "" };

/** Codes that say something about the broker, not about one destination. */
const away = new Set<ErrorCode>(["UNAVAILABLE", "TIMEOUT", "CLOSED"]);

const settings: Settings = {
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
export async function openForwarder(bus: BusParts): Promise<Subscription> {
  const forwarder = assemble(bus, {
    topics: [waiting],
    settings,
    sources: [{ delayed: true }],
    middleware: { delivery: [], attempt: [] },
    run: (_payload, context) => forward(bus.sendCopy, context),
    decode: () => undefined,
  });
  await forwarder.start();
  return forwarder;
}

function forward(send: SendCopy, context: Context): Promise<void> {
  if (!(context instanceof HandlerContext)) throw new TypeError("the forwarder runs inside the engine");
  const { delivery } = context;
  const { forward: next } = delivery;
  if (!next) throw new SluiceError("UNKNOWN", `sluice: a delayed record ${delivery.id} has no destination`);
  const { id = "", key, body, headers, time = 0 } = delivery;
  const item: SendItem = {
    to: next.to,
    from: delivery,
    notBefore: next.notBefore,
    record: { id, dedupId: `${id}/${next.notBefore}/${delivery.shard}`, key, body, headers, time },
  };
  return new Promise((resolve, reject) => {
    send(item, (error) => {
      if (!error) resolve();
      // A destination that is gone must not hold up the others: it is tried again on its own.
      else reject(away.has(error.code) ? new UnavailableError(error.message, { cause: error }) : error);
    });
  });
}
