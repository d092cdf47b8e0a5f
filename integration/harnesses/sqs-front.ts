/**
 * The stand-ins for AWS take any credentials. This front before them knows who asks by key id, as the service would, and refuses
 * what it is told to in the service's own words.
 */
import { createServer, type IncomingMessage, request as forward, type ServerResponse } from "node:http";
import { buffer } from "node:stream/consumers";

/** One request: with which key, what (`SendMessageBatch`), and to which topic or queue. */
export interface Asked {
  readonly key: string;
  readonly action: string;
  readonly resource: string;
}

export interface SqsFront {
  readonly endpoint: string;
  close(): void;
}

/** `refusal`: the error code with which a request is refused; `undefined` lets it pass. It does not keep the process alive. */
export async function openSqsFront(
  target: { readonly host: string; readonly port: number },
  refusal: (asked: Asked) => string | undefined,
): Promise<SqsFront> {
  const server = createServer((incoming, outgoing) => void answer(incoming, outgoing, target, refusal));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  server.unref();
  const address = server.address();
  return {
    endpoint: `http://127.0.0.1:${typeof address === "object" ? address?.port : ""}`,
    close() {
      server.closeAllConnections();
      server.close();
    },
  };
}

async function answer(
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  target: { readonly host: string; readonly port: number },
  refusal: (asked: Asked) => string | undefined,
): Promise<void> {
  const body = await buffer(incoming);
  const { authorization = "", "x-amz-target": sqs } = incoming.headers;
  const fields = sqs === undefined ? Object.fromEntries(new URLSearchParams(body.toString())) : jsonOf(body);
  const action = String(sqs ?? fields["Action"]).replace(/^AmazonSQS\./, "");
  const key = /Credential=([^/]+)/.exec(authorization)?.[1] ?? "";
  const refused = refusal({ key, action, resource: resourceOf(fields) });
  if (refused !== undefined) return refuse(outgoing, refused, sqs !== undefined);
  const { method, headers, url } = incoming;
  const inner = forward({ ...target, path: url, method, headers }, (reply) => {
    outgoing.writeHead(reply.statusCode ?? 500, reply.headers);
    reply.pipe(outgoing);
  });
  inner.on("error", () => outgoing.destroy());
  inner.end(body);
}

function jsonOf(body: Buffer): Readonly<Record<string, unknown>> {
  return JSON.parse(body.toString() || "{}") as Record<string, unknown>;
}

/** A queue by its name or url; a topic by its name or arn, or by the arn of a subscription, which begins with it. */
function resourceOf(fields: Readonly<Record<string, unknown>>): string {
  const field = (...names: readonly string[]) =>
    names.map((name) => fields[name]).find((value) => typeof value === "string");
  const url = field("QueueUrl");
  if (url !== undefined) return url.replace(/^.*\//, "");
  const arn = field("TopicArn", "SubscriptionArn");
  return (arn === undefined ? field("QueueName", "Name", "QueueNamePrefix") : arn.split(":")[5]) ?? "";
}

/** SQS answers in JSON, SNS in XML. */
function refuse(outgoing: ServerResponse, code: string, json: boolean): void {
  const text = `refused: ${code}`;
  outgoing.statusCode = 403;
  outgoing.setHeader("content-type", json ? "application/x-amz-json-1.0" : "text/xml");
  outgoing.end(
    json
      ? JSON.stringify({ __type: `com.amazon.coral.service#${code}Exception`, message: text })
      : `<ErrorResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><Error><Type>Sender</Type><Code>${code}</Code>` +
          `<Message>${text}</Message></Error><RequestId>1</RequestId></ErrorResponse>`,
  );
}
