import { PubSub } from "@google-cloud/pubsub";
import { grpc } from "google-gax";
import { type ConnectContext, type Connection, type Driver, DriverError } from "@sluice/core/driver";
import { capabilities, type GooglePubsubCapabilities } from "./capabilities.ts";
import type { Endpoint } from "./channel.ts";
import { Channels } from "./channels.ts";
import { GooglePubsubConnection } from "./connection.ts";
import { notRenewed, translate } from "./errors.ts";
import { names as makeNames } from "./names.ts";
import {
  type GooglePubsubClient,
  type GooglePubsubMessage,
  type GooglePubsubOptions,
  type Settings,
  settings as makeSettings,
} from "./options.ts";
import { topology } from "./topology.ts";

/** `connect` ends within ten seconds. */
const connectMs = 9_000;

/**
 * Sluice on Google Cloud Pub/Sub: `connect(googlePubsub({ projectId: 'my-project' }))`. Credentials are found as the client library
 * finds them. With `PUBSUB_EMULATOR_HOST` set it speaks to the emulator, and looks for no credentials.
 *
 * @throws DriverError CONFIG when an option is wrong.
 */
export function googlePubsub(
  options: GooglePubsubOptions = {},
): Driver<GooglePubsubCapabilities, GooglePubsubMessage, GooglePubsubClient> {
  const settings = makeSettings(options);
  const names = makeNames(settings.prefix);
  return {
    name: "google-pubsub",
    system: "gcp_pubsub",
    capabilities,
    topology: (declaration) => topology(declaration, names, settings),
    async connect(context): Promise<Connection> {
      const client = settings.client ?? makeClient(settings);
      try {
        const project = await orAborted(projectOf(client, settings), context);
        const endpoint = await orAborted(endpointOf(client, context.clientName), context);
        const { runtime } = context;
        const channels = new Channels({ runtime, endpoint, project, heartbeatMs: settings.heartbeatMs });
        try {
          await channels.ping({ signal: context.signal, ms: connectMs });
        } catch (error) {
          channels.close();
          throw error;
        }
        return new GooglePubsubConnection({
          context,
          // A stream needs HTTP/2 of our own.
          settings: endpoint.origin === undefined ? { ...settings, intake: "pull" } : settings,
          names,
          channels,
          client,
          project,
          emulator: client.isEmulator,
        });
      } catch (error) {
        if (!settings.client) void client.close().catch(() => undefined);
        throw translate(error, "cannot connect");
      }
    },
  };
}

function makeClient({ projectId, endpoint }: Settings): PubSub {
  return new PubSub({
    ...(projectId !== undefined && { projectId }),
    ...(endpoint !== undefined && { apiEndpoint: endpoint }),
  });
}

async function projectOf(client: PubSub, settings: Settings): Promise<string> {
  const stated = settings.projectId ?? process.env["PUBSUB_PROJECT_ID"] ?? process.env["GOOGLE_CLOUD_PROJECT"];
  if (stated) return stated;
  if (client.isIdResolved && client.projectId) return client.projectId;
  // n.b. with an emulator the library would ask the metadata server of a machine that is in no cloud.
  const project = client.isEmulator ? undefined : (await client.getClientConfig()).projectId;
  if (project) return project;
  throw new DriverError(
    "CONFIG",
    "google-pubsub: the project is not known; give projectId, or set GOOGLE_CLOUD_PROJECT",
  );
}

async function endpointOf(client: PubSub, clientName: string): Promise<Endpoint> {
  const { servicePath, port, sslCreds, universeDomain } = client.options;
  const host = servicePath ?? `pubsub.${universeDomain ?? "googleapis.com"}`;
  const address = `${host}:${port ?? 443}`;
  const common = { address, userAgent: `${clientName} sluice` };
  const nobody = async () => ({});
  if (client.isEmulator) {
    const credentials = sslCreds ?? grpc.credentials.createInsecure();
    return { ...common, credentials, origin: `http://${address}`, authorization: nobody };
  }
  if (sslCreds) return { ...common, credentials: sslCreds, origin: undefined, authorization: nobody };
  const authorization = await authorizationOf(client, host);
  const calls = grpc.credentials.createFromGoogleCredential({ getRequestHeaders: authorization });
  const credentials = grpc.credentials.combineChannelCredentials(grpc.credentials.createSsl(), calls);
  return { ...common, credentials, origin: `https://${address}`, authorization };
}

/** As the client library does it: a token that it renews. */
async function authorizationOf({ auth }: PubSub, host: string): Promise<() => Promise<Record<string, string>>> {
  const google = await auth.getClient();
  return async () => {
    try {
      return Object.fromEntries((await google.getRequestHeaders(`https://${host}/`)).entries());
    } catch (error) {
      throw notRenewed(error);
    }
  };
}

/** Looking for credentials may ask a server that does not answer. */
function orAborted<T>(work: Promise<T>, { signal }: ConnectContext): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = () =>
      reject(
        new DriverError("UNAVAILABLE", "google-pubsub: cannot connect: project and credentials were not found in time"),
      );
    if (signal.aborted) return abort();
    signal.addEventListener("abort", abort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}
