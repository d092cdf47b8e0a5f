import { isSluiceError, SluiceError } from "@sluice/core";

/**
 * Basic authentication, or a bearer token: as it is, or from a function that is called for each request (OAuth: let it keep the
 * token until it expires).
 */
export type RegistryAuth =
  | { readonly username: string; readonly password: string }
  | { readonly token: string | (() => string | Promise<string>) };

/** The authorization of requests, and what must not be seen in messages. */
export interface Credentials {
  /** @throws SluiceError `CONFIG`, `UNAVAILABLE` */
  authorization(): Promise<string | undefined>;
  /** The text without secrets that were used. */
  redact(text: string): string;
}

const shortestSecret = 4;

export function credentials(auth: RegistryAuth | undefined): Credentials {
  const secrets = new Set<string>();
  const remember = (secret: string): string => {
    // n.b. replacing something very short would spoil the text and tell the secret.
    if (secret.length >= shortestSecret) secrets.add(secret);
    // Tokens change with time: only the last ones can come back in an answer.
    for (const oldest of secrets) if (secrets.size > 8) secrets.delete(oldest);
    return secret;
  };
  return {
    redact: (text) => [...secrets].reduce((shown, secret) => shown.replaceAll(secret, "***"), text),
    authorization: async () => {
      if (auth === undefined) return undefined;
      if ("token" in auth) return `Bearer ${remember(await tokenOf(auth.token))}`;
      remember(auth.password);
      return `Basic ${remember(Buffer.from(`${auth.username}:${auth.password}`).toString("base64"))}`;
    },
  };
}

async function tokenOf(token: string | (() => string | Promise<string>)): Promise<string> {
  const value: unknown = typeof token === "string" ? token : await ask(token);
  // n.b. `fetch` would show an illegal value in its error.
  if (typeof value === "string" && /^[\x21-\x7e]+$/.test(value)) return value;
  throw new SluiceError(
    "CONFIG",
    `registry: the token is no text of printable characters without blanks; fix option "auth"`,
  );
}

async function ask(token: () => string | Promise<string>): Promise<string> {
  try {
    return await token();
  } catch (cause) {
    if (isSluiceError(cause)) throw cause;
    throw new SluiceError("UNAVAILABLE", `registry: the token function of option "auth" failed; see the cause`, {
      cause,
    });
  }
}
