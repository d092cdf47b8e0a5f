import { type Context, type DeliveryMiddleware, SluiceError } from "@sluice/core";
import { shown } from "./options.ts";

/** Whether a message is wanted; a text is the reason why it is not. */
export type Predicate = (context: Context) => boolean | string | Promise<boolean | string>;

/**
 * Lets through what the predicate wants; the rest is done with, unhandled, and counted as dropped. It sees headers, key, topic and
 * attempt, not the payload. A predicate that throws, or answers anything but `true`, `false` or a text, fails the attempt: what
 * nobody decided must not be dropped.
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
    const wanted: unknown = await predicate(context);
    if (typeof wanted !== "boolean" && typeof wanted !== "string") {
      const text = `${name}: the predicate gave a value that is ${shown(wanted)} for message ${context.message.id}`;
      throw new TypeError(`${text}; return true, false, or the reason as a text`);
    }
    return wanted === true ? next() : context.drop((wanted || reason) ?? name);
  };
  return Object.defineProperty(filtered, "name", { value: name });
}
