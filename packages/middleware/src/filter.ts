import { type Context, type DeliveryMiddleware, SluiceError } from "@sluice/core";

/** Whether a message is wanted; a text is the reason why it is not. */
export type Predicate = (context: Context) => boolean | string | Promise<boolean | string>;

/**
 * Lets through what the predicate wants; the rest is done with, unhandled, and counted as dropped. It sees headers, key, topic and
 * attempt, not the payload. A predicate that throws fails the attempt.
 *
 * The subscription's own `filter` is better where values of headers decide: some brokers apply it before they send anything.
 *
 * @param reason why, where the predicate gives none. @default `filter(name of the predicate)`
 * @throws SluiceError `CONFIG` when the predicate is not a function
 */
export function filter(predicate: Predicate, reason?: string): DeliveryMiddleware {
  if (typeof predicate !== "function") {
    throw new SluiceError("CONFIG", `filter: the predicate is a ${typeof predicate}; give a function of the context`);
  }
  const name = predicate.name ? `filter(${predicate.name})` : "filter";
  const filtered: DeliveryMiddleware = async (context, next) => {
    const wanted = await predicate(context);
    return wanted === true ? next() : context.drop((wanted || reason) ?? name);
  };
  return Object.defineProperty(filtered, "name", { value: name });
}
