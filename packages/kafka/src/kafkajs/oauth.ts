import { noToken } from "../errors.ts";
import type { AuthenticationProviderArgs, Authenticator, Mechanism } from "kafkajs";

const separator = "\u0001";
const lengthBytes = 4;

/**
 * OAUTHBEARER. n.b. kafkajs' own takes the broker's "this token is refused" for a success, because it is an answer like any other, and then
 * fails at its next request without a reason.
 */
export function oauthBearer(token: () => Promise<string>): Mechanism {
  return { mechanism: "oauthbearer", authenticationProvider: (login) => authenticator(token, login) };
}

function authenticator(token: () => Promise<string>, { saslAuthenticate }: AuthenticationProviderArgs): Authenticator {
  const ask = (text: string): Promise<Buffer | void> =>
    saslAuthenticate<Buffer>({
      request: { encode: () => withLength(text) },
      response: { decode: (answer) => answer, parse: (answer) => answer.subarray(lengthBytes) },
    });
  return {
    async authenticate() {
      const reason = await ask(`n,,${separator}auth=Bearer ${await asked(token)}${separator}${separator}`);
      if (!reason || reason.length === 0) return;
      // The broker gives its reason, waits for this, and refuses.
      const refused = await ask(separator).catch((error: unknown) => error);
      const problem = new Error(`the broker refused the token: ${reason.toString()}`, { cause: refused });
      throw Object.assign(problem, { name: "KafkaJSSASLAuthenticationError", retriable: false });
    },
  };
}

/** Whoever gives the tokens may be away like any broker. */
async function asked(token: () => Promise<string>): Promise<string> {
  try {
    return await token();
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw Object.assign(new Error(`no token was given: ${reason}`, { cause: error }), { name: noToken });
  }
}

function withLength(text: string): Buffer {
  const bytes = Buffer.from(text);
  const length = Buffer.allocUnsafe(lengthBytes);
  length.writeInt32BE(bytes.length);
  return Buffer.concat([length, bytes]);
}
