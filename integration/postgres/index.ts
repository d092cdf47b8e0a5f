import type { Log } from "../brokers/index.ts";
import { startNativePostgres } from "./native.ts";
import { untilServing } from "./ready.ts";
import type { RunningPostgres } from "./types.ts";

/** Either a server, or why there is none. */
export interface Postgres {
  readonly running: RunningPostgres | undefined;
  /** For the start of a run, as the brokers' table. */
  readonly line: string;
}

/**
 * A PostgreSQL for tests: the one of POSTGRES_URL, else Debian's as an instance of its own. What cannot be had is reported, not
 * thrown, unless SLUICE_REQUIRE_BROKERS is `all`.
 */
export async function postgres(
  log: Log = (line) => void process.stderr.write(`postgres: ${line}\n`),
): Promise<Postgres> {
  try {
    const running = await start(log);
    return { running, line: `postgres ${running.version} ${running.provider} ${withoutPassword(running.url)}` };
  } catch (error) {
    const why = `postgres unavailable: ${(error as Error).message}`;
    if (process.env["SLUICE_REQUIRE_BROKERS"] === "all") {
      throw new Error(`SLUICE_REQUIRE_BROKERS asks for what cannot be had: ${why}`, { cause: error });
    }
    return { running: undefined, line: why };
  }
}

async function start(log: Log): Promise<RunningPostgres> {
  const url = process.env["POSTGRES_URL"];
  if (url === undefined || url === "") return startNativePostgres(log);
  return { provider: "external", version: await untilServing(url), url, stop: async () => {} };
}

function withoutPassword(url: string): string {
  const parts = new URL(url);
  parts.password = "";
  return parts.href;
}
