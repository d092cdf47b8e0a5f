import { SluiceError } from "@sluice/core";
import { Budget, isObject, type JsonObject } from "../budget.ts";
import type { Document } from "./document.ts";
import { inPlace } from "./flat.ts";

/**
 * Refuses a schema that means itself for the same value: validators never end on it. n.b. comparing takes a pair of schemas
 * that is met again for granted, which is true only where each round takes a step into the value.
 */
export function refuseCycles(document: Document, owner: string): void {
  const done = new Set<JsonObject>();
  const open = new Set<JsonObject>();
  const budget = new Budget();
  const visit = (schema: JsonObject): void => {
    if (done.has(schema)) return;
    if (open.has(schema)) {
      throw new SluiceError(
        "CONFIG",
        `compatibility: ${owner} has a schema that refers to itself for the same value, which has no meaning; put a property or an item between`,
      );
    }
    open.add(schema);
    budget.nested(() => {
      for (const next of inPlace({ schema, document })) if (isObject(next.schema)) visit(next.schema);
    });
    open.delete(schema);
    done.add(schema);
  };
  for (const schema of document.objects) visit(schema);
}
