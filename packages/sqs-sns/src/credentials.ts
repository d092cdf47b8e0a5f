import type { SQSClient, SQSClientConfig } from "@aws-sdk/client-sqs";
import type { SNSClient } from "@aws-sdk/client-sns";
import type { Runtime } from "@sluice/core/driver";

type Credentials = NonNullable<SQSClientConfig["credentials"]>;
type Provider = Extract<Credentials, (...args: never) => unknown>;
type Identity = Awaited<ReturnType<Provider>>;

/** The SDK asks for new ones so long before the old ones expire. */
const aheadMs = 300_000;

/**
 * One provider for all clients: asked once for all of them. What it fails with once it has worked is an outage, not a wrong
 * setting, and what it gave before is good until it expires.
 */
export function shared(credentials: Credentials, runtime: Pick<Runtime, "wallMs">): Credentials {
  if (typeof credentials !== "function") return credentials;
  let last: Identity | undefined;
  let asking: Promise<Identity> | undefined;
  const leftMs = () => (last?.expiration?.getTime() ?? Infinity) - runtime.wallMs();
  return async (options) => {
    const forced = (options as { readonly forceRefresh?: unknown } | undefined)?.forceRefresh === true;
    if (last && !forced && leftMs() >= aheadMs) return last;
    asking ??= credentials(options).finally(() => (asking = undefined));
    try {
      return (last = await asking);
    } catch (error) {
      if (last && !forced && leftMs() > 0) return last;
      const reason = error instanceof Error ? error.message : String(error);
      const name = last ? "CredentialsRefreshError" : "CredentialsProviderError";
      throw Object.assign(new Error(reason, { cause: error }), { name });
    }
  };
}

/** As long as new ones are refused as well, they are not asked for more often. */
const pauseMs = 1_000;
const expired = new Set(["ExpiredToken", "ExpiredTokenException", "RequestExpired"]);

/**
 * Has a client take what the service calls expired for the end of its credentials, whatever they say of themselves: it asks for
 * new ones, and the call is made once more. n.b. That is safe for sends too: what is refused so was not looked at.
 */
export function renewing<T extends SQSClient | SNSClient>(client: T, runtime: Pick<Runtime, "monotonicMs">): T {
  const current = (options?: { readonly forceRefresh: true }) => client.config.credentials(options);
  let nextMs = -Infinity;
  /** What is in use now instead of what was refused: of many calls that fail at once the first one asks for it. */
  const renew = async (refused: Identity) => {
    const now = await current();
    if (now !== refused || runtime.monotonicMs() < nextMs) return now;
    nextMs = runtime.monotonicMs() + pauseMs;
    return current({ forceRefresh: true }).catch(() => refused);
  };
  const add = client.middlewareStack.add.bind(client.middlewareStack) as SQSClient["middlewareStack"]["add"]; // the same for both
  add(
    (next) => async (call) => {
      const before = await current();
      try {
        return await next(call);
      } catch (error) {
        if (!(error instanceof Error) || !expired.has(error.name)) throw error;
        if ((await renew(before)) === before) throw error;
        return next(call);
      }
    },
    { step: "initialize", name: "sluiceRenewCredentials", priority: "high" },
  );
  return client;
}
