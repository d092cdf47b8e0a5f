import { setTimeout as delay } from "node:timers/promises";
import { Client } from "pg";

/** Resolves with the server's version once it answers; rejects after half a minute, or as soon as `hopeless` says why. */
export async function untilServing(url: string, hopeless: () => string | undefined = () => undefined): Promise<string> {
  const deadline = performance.now() + 30_000;
  for (;;) {
    const answer = await ask(url).catch((error: unknown) => error as Error);
    if (typeof answer === "string") return answer;
    const end = hopeless() ?? (performance.now() > deadline ? "did not answer within 30 s" : undefined);
    if (end !== undefined) throw new Error(`${end}; last answer: ${answer.message}`, { cause: answer });
    await delay(100);
  }
}

async function ask(url: string): Promise<string> {
  const client = new Client({ connectionString: url, connectionTimeoutMillis: 5000 });
  try {
    await client.connect();
    const { rows } = await client.query<{ server_version: string }>("SHOW server_version");
    return rows[0]?.server_version ?? "unknown";
  } finally {
    await client.end().catch(() => {});
  }
}
