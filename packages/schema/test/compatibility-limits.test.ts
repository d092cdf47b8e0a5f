import { isSluiceError } from "@sluice/core";
import { compatible, type SchemaType } from "@sluice/schema/compatibility";
import { expect, it } from "vitest";
import { contractBombs } from "./contract-bombs.ts";

function verdict(type: SchemaType, schema: string, old: string): string {
  try {
    return compatible({ type, level: "BACKWARD", schema, against: [old] }).compatible ? "compatible" : "incompatible";
  } catch (error) {
    if (!isSluiceError(error)) throw error;
    return error.code;
  }
}

/** Of the new one against the old, and the other way round, where it is not `TOO_LARGE`. */
const ends: Readonly<Record<string, readonly [string, string]>> = {
  "records that hold each other": ["TOO_LARGE", "compatible"],
  "a recursive record of unions": ["incompatible", "compatible"],
  "many symbols": ["incompatible", "incompatible"],
  "patterns that never end": ["incompatible", "incompatible"],
  "deep messages": ["CONFIG", "CONFIG"],
};

// How soon, `npm run bench:bombs` says.
it.each(contractBombs)("%s: an end", (name, type, old, current) => {
  expect([verdict(type, current, old), verdict(type, old, current)]).toEqual(ends[name] ?? ["TOO_LARGE", "TOO_LARGE"]);
});
