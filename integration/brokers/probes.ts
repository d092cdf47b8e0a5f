// One real request per broker. Client libraries are loaded when they are needed: some take a second.
const probeLimit = 10_000;

export async function probeKafka(brokers: readonly string[]): Promise<undefined> {
  const { Kafka, logLevel } = await import("kafkajs");
  const kafka = new Kafka({
    clientId: "sluice-readiness",
    brokers: [...brokers],
    logLevel: logLevel.NOTHING,
    connectionTimeout: 3_000,
    requestTimeout: probeLimit,
    retry: { retries: 0 },
  });
  const admin = kafka.admin();
  try {
    await admin.connect();
    await admin.describeCluster();
    // The port opens a moment before the coordinators serve; asking for groups makes Kafka create
    // its offsets topic, and fails until every coordinator has loaded its share of it.
    const names = Array.from({ length: 20 }, (_, index) => `sluice-readiness-${index}`);
    await admin.describeGroups(names);
  } finally {
    await admin.disconnect().catch(() => {});
  }
}

export async function probeRabbit(url: string): Promise<string | undefined> {
  const { connect } = await import("amqplib");
  const connection = await connect(url, { timeout: probeLimit });
  connection.on("error", () => {});
  try {
    const channel = await connection.createChannel();
    await channel.close();
    const version: unknown = connection.connection.serverProperties["version"];
    return typeof version === "string" ? version : undefined;
  } finally {
    await connection.close().catch(() => {});
  }
}

/** `7.0.15`; with the product's name before it when it is not Redis: `valkey-9.1.2`. */
export async function probeRedis(url: string): Promise<string | undefined> {
  const { Redis } = await import("ioredis");
  const redis = new Redis(url, {
    lazyConnect: true,
    connectTimeout: 3_000,
    commandTimeout: probeLimit,
    maxRetriesPerRequest: 0,
    retryStrategy: () => null,
  });
  // The rejection of `connect` says "Connection is closed"; the event says why.
  let cause: Error | undefined;
  redis.on("error", (error: Error) => (cause = error));
  try {
    await redis.connect();
    // n.b. INFO answers while the data are still being loaded; PING does not.
    await redis.ping();
    const information = await redis.info("server");
    const field = (name: string) => new RegExp(`^${name}:(\\S+)`, "m").exec(information)?.[1];
    const valkey = field("valkey_version");
    return valkey === undefined ? field("redis_version") : `valkey-${valkey}`;
  } catch (error) {
    throw cause ?? error;
  } finally {
    redis.disconnect();
  }
}

export async function probeAws(endpoint: string): Promise<undefined> {
  const [{ ListQueuesCommand, SQSClient }, { ListTopicsCommand, SNSClient }] = await Promise.all([
    import("@aws-sdk/client-sqs"),
    import("@aws-sdk/client-sns"),
  ]);
  const { AWS_REGION = "us-east-1", AWS_ACCESS_KEY_ID } = process.env;
  // Without credentials in the environment it is a stand-in, which takes any.
  const credentials = AWS_ACCESS_KEY_ID ? {} : { credentials: { accessKeyId: "test", secretAccessKey: "test" } };
  const settings = { endpoint, region: AWS_REGION, maxAttempts: 1, ...credentials };
  const [sqs, sns] = [new SQSClient(settings), new SNSClient(settings)];
  try {
    const abortSignal = AbortSignal.timeout(probeLimit);
    await sqs.send(new ListQueuesCommand({ MaxResults: 1 }), { abortSignal });
    await sns.send(new ListTopicsCommand({}), { abortSignal });
  } finally {
    sqs.destroy();
    sns.destroy();
  }
}

/** The emulator serves the REST interface on the port of gRPC. */
export async function probePubsub(url: string): Promise<undefined> {
  const response = await fetch(`${url}/v1/projects/sluice-readiness/topics`, {
    signal: AbortSignal.timeout(probeLimit),
  }).catch((error: unknown) => {
    const { cause } = error as { cause?: unknown };
    throw cause instanceof Error ? cause : error;
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`the emulator answered ${response.status}: ${text.slice(0, 200)}`);
}
