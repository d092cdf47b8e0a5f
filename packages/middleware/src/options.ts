import { SluiceError } from "@sluice/core";

/**
 * What was given has these methods: an object without them would be an outage without end, and a missing one a bare TypeError.
 * @param what the function and its parameter, such as `idempotent: the store`
 * @throws SluiceError `CONFIG`
 */
export function checkMethods(what: string, given: unknown, methods: readonly string[], help: string): void {
  const missing = methods.filter((name) => typeof (given as Record<string, unknown> | null)?.[name] !== "function");
  if (missing.length === 0) return;
  const wrong = typeof given === "object" && given !== null ? `has no ${missing.join(", ")}` : `is ${shown(given)}`;
  throw new SluiceError("CONFIG", `${what} ${wrong}; ${help}`);
}

/** @throws SluiceError `CONFIG` */
export function checkObject(what: string, given: unknown, help: string): void {
  if (typeof given === "object" && given !== null) return;
  throw new SluiceError("CONFIG", `${what} is ${shown(given)}; ${help}`);
}

/** @throws SluiceError `CONFIG` unless it is a function, or not given */
export function checkFunction(what: string, given: unknown): void {
  if (given === undefined || typeof given === "function") return;
  throw new SluiceError("CONFIG", `${what} is ${shown(given)}; give a function`);
}

/** @throws SluiceError `CONFIG` unless it is one of these, or not given */
export function checkChoice(what: string, given: unknown, legal: readonly string[]): void {
  if (given === undefined || (typeof given === "string" && legal.includes(given))) return;
  const names = legal.map((each) => JSON.stringify(each)).join(", ");
  throw new SluiceError("CONFIG", `${what} is ${shown(given)}; give one of ${names}`);
}

/** A value in a few characters, also one that has no JSON. */
export function shown(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value.slice(0, 80));
  if (value === null || typeof value === "number" || typeof value === "boolean") return String(value);
  return value === undefined ? "undefined" : `of type ${Array.isArray(value) ? "array" : typeof value}`;
}
