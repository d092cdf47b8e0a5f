import { Agent as HttpAgent } from "node:http";
import { Agent as HttpsAgent } from "node:https";
import { SNSClient } from "@aws-sdk/client-sns";
import { SQSClient } from "@aws-sdk/client-sqs";
import { DriverError, type Runtime } from "@sluice/core/driver";
import { renewing, shared } from "./credentials.ts";
import type { Settings } from "./options.ts";

/**
 * The SDK's clients by use. Polls hold their sockets for seconds and must neither starve the others nor use up their retries; a
 * send is never repeated here, because a queue that does not deduplicate would keep it twice.
 */
export interface Clients {
  readonly polls: SQSClient;
  readonly sends: { readonly sqs: SQSClient; readonly sns: SNSClient };
  /** Deletes, visibility, administration: all of it may be repeated. */
  readonly calls: { readonly sqs: SQSClient; readonly sns: SNSClient };
  destroy(): void;
}

/** Sockets beside those of the polls. n.b. Deletions and renewals have a deadline, the lease: they must not queue behind sends. */
const sendSockets = 5;
const callSockets = 7;

const connectMs = 3_000;
const requestMs = 10_000;

const silent = { debug() {}, info() {}, warn() {}, error() {}, trace() {} };

export function openClients(
  settings: Settings,
  clientName: string,
  runtime: Pick<Runtime, "wallMs" | "monotonicMs">,
): Clients {
  const { clients } = settings;
  if (clients) return { polls: clients.sqs, sends: clients, calls: clients, destroy: () => {} };
  const polls = handler(settings.pollers, 60_000);
  const sends = handler(sendSockets, requestMs);
  const calls = handler(callSockets, requestMs);
  try {
    return made(settings, clientName, runtime, { polls, sends, calls });
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new DriverError("CONFIG", `sqs-sns: cannot make clients: ${reason}; check the options`, { cause: error });
  }
}

type Handler = ReturnType<typeof handler>;

/** n.b. Without `throwOnRequestTimeout` a time limit only warns, and a server that says nothing holds the call for ever. */
function handler(maxTotalSockets: number, requestTimeout: number) {
  const agent = { keepAlive: true, maxSockets: maxTotalSockets, maxTotalSockets };
  return {
    httpAgent: new HttpAgent(agent),
    httpsAgent: new HttpsAgent(agent),
    connectionTimeout: connectMs,
    requestTimeout,
    throwOnRequestTimeout: true,
    socketAcquisitionWarningTimeout: 3_600_000,
    logger: silent,
  };
}

function made(
  settings: Settings,
  clientName: string,
  runtime: Pick<Runtime, "wallMs" | "monotonicMs">,
  { polls, sends, calls }: Readonly<Record<"polls" | "sends" | "calls", Handler>>,
): Clients {
  const { endpoint, credentials, md5 } = settings;
  const region = regionOf(settings);
  const common = {
    ...(region !== undefined && { region }),
    ...(endpoint !== undefined && { endpoint }),
    ...(credentials !== undefined && { credentials: shared(credentials, runtime) }),
    retryMode: "standard",
    customUserAgent: [["sluice", clientName.replace(/[^A-Za-z0-9_.-]/g, "-")]] as [string, string][],
  } as const;
  // The url that a queue has may name another host than the one that we can reach.
  const sqs = { ...common, useQueueUrlAsEndpoint: false, ...(!md5 && { md5: false as const }) };
  const once = { maxAttempts: 1 } as const;
  const often = { maxAttempts: 3 } as const;
  const all = {
    polls: renewing(new SQSClient({ ...sqs, ...once, requestHandler: polls }), runtime),
    sends: {
      sqs: renewing(new SQSClient({ ...sqs, ...once, requestHandler: sends }), runtime),
      sns: renewing(new SNSClient({ ...common, ...once, requestHandler: sends }), runtime),
    },
    calls: {
      sqs: renewing(new SQSClient({ ...sqs, ...often, requestHandler: calls }), runtime),
      sns: renewing(new SNSClient({ ...common, ...often, requestHandler: calls }), runtime),
    },
  };
  return {
    ...all,
    destroy() {
      for (const client of [all.polls, all.sends.sqs, all.sends.sns, all.calls.sqs, all.calls.sns]) client.destroy();
      for (const { httpAgent, httpsAgent } of [polls, sends, calls]) {
        httpAgent.destroy();
        httpsAgent.destroy();
      }
    },
  };
}

/** An emulator does not care, and nobody sets a region for it; the SDK insists on one. */
function regionOf({ region, endpoint }: Settings): string | undefined {
  if (region !== undefined) return region;
  const { AWS_REGION, AWS_DEFAULT_REGION, AWS_ENDPOINT_URL } = process.env;
  if (AWS_REGION !== undefined) return undefined;
  return AWS_DEFAULT_REGION ?? ((endpoint ?? AWS_ENDPOINT_URL) === undefined ? undefined : "us-east-1");
}
