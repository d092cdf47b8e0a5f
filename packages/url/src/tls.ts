import type { Values } from "./parameters.ts";

/** Paths of PEM files, and the name to verify instead of the host's. */
export const tlsParameters = { ca: "file", cert: "file", key: "file", servername: "text" } as const;

type Tls = Values<typeof tlsParameters>;

/** What of it is given; `undefined` when nothing is. */
export function tlsOf(given: { readonly [Name in keyof Tls]: Tls[Name] | undefined }): Tls | undefined {
  const tls = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
  return Object.keys(tls).length > 0 ? tls : undefined;
}
