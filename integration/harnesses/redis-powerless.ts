import { Redis } from "ioredis";

/** Makes a user who may connect and do nothing else. Its password is `powerless` too. */
export async function makePowerless(url: string): Promise<void> {
  const client = new Redis(url, { maxRetriesPerRequest: null });
  const rights = ["reset", "on", ">powerless", "-@all", "+hello", "+auth", "+ping", "+client"];
  await client.call("acl", "SETUSER", "powerless", ...rights);
  client.disconnect();
}
