import assert from "node:assert/strict";
import { isSluiceError, type SluiceError, type ErrorCode } from "@sluice/core";
import type { Case } from "../case.ts";
import { within } from "../clock.ts";
import { describe } from "../flow.ts";

type Needs = NonNullable<Case["needs"]>;

/** What a case needs of the live connection, by name. */
export const needs: Readonly<Record<NeedName, Needs>> = {
  ordered: { what: "ordered", holds: ({ capabilities }) => capabilities.ordered !== "absent" },
  broadcast: { what: "broadcast", holds: ({ capabilities }) => capabilities.broadcast !== "absent" },
  filter: { what: "filter", holds: ({ capabilities }) => capabilities.filter !== "absent" },
  priority: { what: "priority", holds: ({ capabilities }) => capabilities.priority !== "absent" },
  headers: { what: "headers", holds: ({ capabilities }) => capabilities.headers !== "absent" },
  deadLetter: { what: "deadLetter", holds: ({ capabilities }) => capabilities.deadLetter !== "absent" },
  delayTopic: { what: "delay.topic", holds: ({ capabilities }) => capabilities.delay.topic !== "absent" },
  delayGroup: { what: "delay.group", holds: ({ capabilities }) => capabilities.delay.group !== "absent" },
  release: { what: "release", holds: ({ capabilities }) => capabilities.release !== "absent" },
  unrouted: { what: "retained: false", holds: ({ capabilities }) => !capabilities.retained },
  earliest: { what: "earliest", holds: ({ capabilities }) => capabilities.earliest !== "absent" },
  browse: { what: "browse", holds: ({ capabilities }) => capabilities.browse !== "absent" },
  lease: { what: "a lease with a time", holds: ({ lease }) => lease !== undefined },
  renewal: { what: "a lease that can be prolonged", holds: ({ lease }) => lease?.renew === true },
  prefix: { what: "a log with a committed prefix", holds: ({ capabilities }) => capabilities.release === "absent" },
  transactions: { what: "transactions", holds: ({ capabilities }) => capabilities.transactions !== "absent" },
  backlog: { what: "backlog", holds: ({ capabilities }) => capabilities.backlog !== "absent" },
  commit: { what: "commit of any records", holds: ({ capabilities }) => capabilities.commit === "record" },
  persistent: { what: "persistent", holds: ({ capabilities }) => capabilities.persistent },
  seek: { what: "seek", holds: ({ capabilities }) => capabilities.seek !== "absent" },
  atMostOnce: { what: "delivery: at-most-once", holds: ({ capabilities }) => capabilities.delivery === "at-most-once" },
  groupless: { what: "a broker without groups", holds: ({ capabilities }) => capabilities.group === "absent" },
  deliveries: { what: "deliveries", holds: ({ capabilities }) => capabilities.deliveries !== "absent" },
};

export type NeedName =
  | "ordered"
  | "broadcast"
  | "filter"
  | "priority"
  | "headers"
  | "deadLetter"
  | "delayTopic"
  | "delayGroup"
  | "release"
  | "unrouted"
  | "earliest"
  | "browse"
  | "lease"
  | "renewal"
  | "prefix"
  | "deliveries"
  | "transactions"
  | "seek"
  | "backlog"
  | "commit"
  | "persistent"
  | "atMostOnce"
  | "groupless";

/** The call must reject with this code, within the limit, and with a text that names the thing. Resolves to the error. */
export async function refuses(
  code: ErrorCode | readonly ErrorCode[],
  what: string,
  call: () => Promise<unknown>,
  options: { readonly withinMs?: number; readonly names?: string } = {},
): Promise<SluiceError> {
  const codes: readonly string[] = typeof code === "string" ? [code] : code;
  const settled = await within(
    options.withinMs ?? 10_000,
    what,
    (async () => call())().then(
      () => ({ error: undefined, resolved: true }),
      (error: unknown) => ({ error, resolved: false }),
    ),
  );
  assert.ok(!settled.resolved, `${what}: expected ${codes.join(" or ")}, but the call succeeded`);
  const { error } = settled;
  assert.ok(isSluiceError(error), `${what}: expected a SluiceError, got ${describe(error)}`);
  assert.ok(codes.includes(error.code), `${what}: expected ${codes.join(" or ")}, got ${error.code}: ${error.message}`);
  if (options.names !== undefined) {
    assert.ok(error.message.includes(options.names), `${what}: "${error.message}" does not name ${options.names}`);
  }
  return error;
}
