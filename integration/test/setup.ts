/** Runs once, before the first file: what the tests will use is known from here on. */
import { composed } from "../brokers/composed.ts";
import { listing, offerTable } from "../brokers/index.ts";

export async function setup(): Promise<void> {
  Object.assign(process.env, await composed());
  process.stdout.write(`${offerTable(await listing())}\n\n`);
}
