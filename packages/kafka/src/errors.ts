import { DriverError, type DriverErrorCode } from "@sluice/core/driver";

/** Name of the error when the `token` option failed. */
export const noToken = "SluiceNoToken";

/** Protocol errors by name (the broker's words), and client errors by class name. */
const codes: Readonly<Record<string, DriverErrorCode>> = {
  TOPIC_AUTHORIZATION_FAILED: "FORBIDDEN",
  GROUP_AUTHORIZATION_FAILED: "FORBIDDEN",
  CLUSTER_AUTHORIZATION_FAILED: "FORBIDDEN",
  TRANSACTIONAL_ID_AUTHORIZATION_FAILED: "FORBIDDEN",
  POLICY_VIOLATION: "FORBIDDEN",
  SASL_AUTHENTICATION_FAILED: "UNAUTHORIZED",
  ILLEGAL_SASL_STATE: "UNAUTHORIZED",
  UNSUPPORTED_SASL_MECHANISM: "UNAUTHORIZED",
  UNKNOWN_TOPIC_OR_PARTITION: "NOT_FOUND",
  INVALID_TOPIC_EXCEPTION: "CONFIG",
  INVALID_PARTITIONS: "CONFIG",
  INVALID_REPLICATION_FACTOR: "CONFIG",
  INVALID_CONFIG: "CONFIG",
  INVALID_SESSION_TIMEOUT: "CONFIG",
  INVALID_GROUP_ID: "CONFIG",
  INCONSISTENT_GROUP_PROTOCOL: "MISMATCH",
  NON_EMPTY_GROUP: "BUSY",
  MESSAGE_TOO_LARGE: "TOO_LARGE",
  RECORD_LIST_TOO_LARGE: "TOO_LARGE",
  OFFSET_METADATA_TOO_LARGE: "TOO_LARGE",
  INVALID_TIMESTAMP: "INVALID_MESSAGE",
  INVALID_RECORD: "INVALID_MESSAGE",
  CORRUPT_MESSAGE: "INVALID_MESSAGE",
  INVALID_REQUIRED_ACKS: "CONFIG",
  ILLEGAL_GENERATION: "LOST",
  UNKNOWN_MEMBER_ID: "LOST",
  REBALANCE_IN_PROGRESS: "LOST",
  FENCED_INSTANCE_ID: "LOST",
  OUT_OF_ORDER_SEQUENCE_NUMBER: "LOST",
  DUPLICATE_SEQUENCE_NUMBER: "LOST",
  UNKNOWN_PRODUCER_ID: "LOST",
  INVALID_PRODUCER_EPOCH: "LOST",
  INVALID_PRODUCER_ID_MAPPING: "LOST",
  INVALID_TXN_STATE: "LOST",
  LEADER_NOT_AVAILABLE: "UNAVAILABLE",
  NOT_LEADER_FOR_PARTITION: "UNAVAILABLE",
  REQUEST_TIMED_OUT: "UNAVAILABLE",
  BROKER_NOT_AVAILABLE: "UNAVAILABLE",
  REPLICA_NOT_AVAILABLE: "UNAVAILABLE",
  NETWORK_EXCEPTION: "UNAVAILABLE",
  GROUP_LOAD_IN_PROGRESS: "UNAVAILABLE",
  GROUP_COORDINATOR_NOT_AVAILABLE: "UNAVAILABLE",
  NOT_COORDINATOR_FOR_GROUP: "UNAVAILABLE",
  NOT_ENOUGH_REPLICAS: "UNAVAILABLE",
  NOT_ENOUGH_REPLICAS_AFTER_APPEND: "UNAVAILABLE",
  NOT_CONTROLLER: "UNAVAILABLE",
  KAFKA_STORAGE_ERROR: "UNAVAILABLE",
  THROTTLING_QUOTA_EXCEEDED: "UNAVAILABLE",
  UNSUPPORTED_VERSION: "UNSUPPORTED",
  UNSUPPORTED_FOR_MESSAGE_FORMAT: "UNSUPPORTED",
  UNSUPPORTED_COMPRESSION_TYPE: "UNSUPPORTED",
  DEPTH_ZERO_SELF_SIGNED_CERT: "CONFIG",
  SELF_SIGNED_CERT_IN_CHAIN: "CONFIG",
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: "CONFIG",
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: "CONFIG",
  CERT_HAS_EXPIRED: "CONFIG",
  ERR_TLS_CERT_ALTNAME_INVALID: "CONFIG",
  KafkaJSSASLAuthenticationError: "UNAUTHORIZED",
  [noToken]: "UNAVAILABLE",
  KafkaJSServerDoesNotSupportApiKey: "UNSUPPORTED",
  KafkaJSNotImplemented: "UNSUPPORTED",
  KafkaJSUnsupportedMagicByteInMessageSet: "UNSUPPORTED",
  KafkaJSConnectionError: "UNAVAILABLE",
  KafkaJSConnectionClosedError: "UNAVAILABLE",
  KafkaJSRequestTimeoutError: "UNAVAILABLE",
  KafkaJSBrokerNotFound: "UNAVAILABLE",
  KafkaJSNoBrokerAvailableError: "UNAVAILABLE",
  KafkaJSMetadataNotLoaded: "UNAVAILABLE",
  KafkaJSTopicMetadataNotLoaded: "UNAVAILABLE",
  KafkaJSGroupCoordinatorNotFound: "UNAVAILABLE",
  KafkaJSLockTimeout: "UNAVAILABLE",
  KafkaJSTimeout: "UNAVAILABLE",
};

/**
 * A native error in our words. The whole cause chain is looked at: the outermost kafkajs error often says only "retries
 * exceeded", without type and as not retriable, and the reason is further in.
 *
 * @param doing what failed and on which thing: `cannot read topic "orders"`
 * @param remedy what the reader should do
 */
export function toDriverError(error: unknown, doing: string, remedy?: string): DriverError {
  if (error instanceof DriverError) return error;
  const found = chain(error).flatMap((link) => {
    const code = codeOf(link);
    return code === undefined ? [] : [{ code, link }];
  })[0];
  const reason = messageOf(found?.link ?? error);
  const code = found?.code ?? "UNKNOWN";
  const todo = remedy ?? (code === "FORBIDDEN" ? "grant the rights that bus.plan() lists" : undefined);
  const advice = todo === undefined ? "" : `; ${todo}`;
  return new DriverError(code, `kafka: ${doing}: ${reason}${advice}`, { cause: error });
}

/** The broker's answer names no topic. */
export function forbiddenTopic(topic: string, reason: unknown): DriverError {
  return toDriverError(reason, `no right to see topic "${topic}"`, "grant Describe, and Read or Write, on it");
}

export function codeOfError(error: unknown): DriverErrorCode {
  return toDriverError(error, "").code;
}

function codeOf(link: object): DriverErrorCode | undefined {
  for (const name of ["type", "code", "name"]) {
    const value: unknown = Reflect.get(link, name);
    if (typeof value === "string" && Object.hasOwn(codes, value)) return codes[value];
  }
  return undefined;
}

/** The error, its causes and the members of aggregates, outermost first; each once. */
function chain(error: unknown, seen: Set<object> = new Set()): readonly object[] {
  if (typeof error !== "object" || error === null || seen.has(error)) return [];
  seen.add(error);
  const members: unknown = Reflect.get(error, "errors");
  for (const inner of [Reflect.get(error, "cause"), ...(Array.isArray(members) ? members : [])]) chain(inner, seen);
  return [...seen];
}

function messageOf(error: unknown): string {
  if (typeof error === "object" && error !== null && "message" in error) return String(error.message);
  return String(error);
}
