import { type ConnectContext, type Connection, type Driver, DriverError } from "@sluice/core/driver";
import { capabilities, type SqsSnsCapabilities } from "./capabilities.ts";
import { openClients } from "./clients.ts";
import { ping, SqsSnsConnection } from "./connection.ts";
import { Directory } from "./directory.ts";
import { names as makeNames } from "./names.ts";
import {
  type Settings,
  settings as makeSettings,
  type SqsMessage,
  type SqsSnsClient,
  type SqsSnsOptions,
} from "./options.ts";
import { topology } from "./topology.ts";

/** `connect` ends within ten seconds. */
const connectMs = 9_000;

/**
 * Sluice on Amazon SQS and SNS: `connect(sqsSns({ region: 'eu-central-1' }))`.
 *
 * @throws DriverError CONFIG when an option is wrong.
 */
export function sqsSns(options: SqsSnsOptions = {}): Driver<SqsSnsCapabilities, SqsMessage, SqsSnsClient> {
  const settings = makeSettings(options);
  const names = makeNames(settings.prefix);
  return {
    name: "sqs-sns",
    system: "aws_sqs",
    capabilities,
    topology: (declaration) => topology(declaration, names, settings),
    async connect(context): Promise<Connection> {
      const clients = openClients(settings, context.clientName, context.runtime);
      try {
        const region = await clients.calls.sqs.config.region();
        const server = settings.endpoint
          ? `SQS and SNS at ${new URL(settings.endpoint).host}`
          : `Amazon SQS and SNS in ${region}`;
        const directory = new Directory(clients, names, context.runtime);
        if (settings.accountId) directory.learnAccount(`${partition(region)}:sns:${region}:${settings.accountId}:`);
        await reach(settings, directory, clients, context);
        return new SqsSnsConnection({ context, settings, names, clients, directory, capabilities, server });
      } catch (error) {
        clients.destroy();
        throw error;
      }
    },
  };
}

/** Both services, at once. n.b. SNS without the right to list topics is of use only where the account is stated. */
async function reach(
  settings: Settings,
  directory: Directory,
  clients: ReturnType<typeof openClients>,
  context: ConnectContext,
): Promise<void> {
  const account = async () => {
    try {
      await directory.findAccount(context.signal, connectMs);
    } catch (error) {
      if (!(error instanceof DriverError) || error.code !== "FORBIDDEN") throw error;
      if (settings.accountId !== undefined) return;
      const text =
        "sqs-sns: no right to list topics, and the account is unknown; give accountId, or allow sns:ListTopics";
      throw new DriverError("FORBIDDEN", text, { cause: error });
    }
  };
  await Promise.all([account(), ping(clients, context, context.signal, connectMs)]);
}

function partition(region: string): string {
  if (region.startsWith("cn-")) return "arn:aws-cn";
  return region.startsWith("us-gov-") ? "arn:aws-us-gov" : "arn:aws";
}
