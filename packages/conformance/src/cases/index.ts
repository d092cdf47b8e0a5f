import type { Case } from "../case.ts";
import { batches } from "./batches.ts";
import { delivery } from "./delivery.ts";
import { faults } from "./faults.ts";
import { fleeting } from "./fleeting.ts";
import { groups } from "./groups.ts";
import { hygiene } from "./hygiene.ts";
import { interop } from "./interop.ts";
import { leases } from "./leases.ts";
import { lifecycle } from "./lifecycle.ts";
import { limits } from "./limits.ts";
import { looking } from "./looking.ts";
import { names } from "./names.ts";
import { negative } from "./negative.ts";
import { network } from "./network.ts";
import { ordering } from "./ordering.ts";
import { payload } from "./payload.ts";
import { provisioning } from "./provisioning.ts";
import { restarts } from "./restarts.ts";
import { retry } from "./retry.ts";
import { seeking } from "./seeking.ts";
import { settlement } from "./settlement.ts";
import { transactions } from "./transactions.ts";

/** Every case. Ids are permanent and never reused. */
export const catalogue: readonly Case[] = [
  ...lifecycle,
  ...delivery,
  ...settlement,
  ...leases,
  ...ordering,
  ...groups,
  ...fleeting,
  ...batches,
  ...payload,
  ...limits,
  ...interop,
  ...provisioning,
  ...names,
  ...retry,
  ...looking,
  ...seeking,
  ...transactions,
  ...hygiene,
  ...negative,
  ...faults,
  ...restarts,
  ...network,
];

/** Known behaviours of messaging suites that have no meaning here, so that their absence is a statement. */
export const notApplicable: Readonly<Record<string, string>> = {
  "BA-02":
    "How many messages share one request to the broker is not promised: batching is by load, and the broker cannot tell.",
  "RD-04": "A lease that runs out is no attempt: attempts count runs of the handler. Crashes are judged by G-06.",
  "RD-09": "There is no upper bound on the age of a retried message; expiresAt (RD-08) is the publisher's statement.",
  "GR-06":
    "Partitions are the broker's matter; members never address one. GR-02 and OR-01 test what follows from them.",
};
