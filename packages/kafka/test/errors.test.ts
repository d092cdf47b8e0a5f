import { DriverError } from "@sluice/core/driver";
import { describe, expect, test } from "vitest";
import { toDriverError } from "../src/errors.ts";

const kafkaError = (fields: object, cause?: unknown): Error => Object.assign(new Error("native", { cause }), fields);

describe("toDriverError", () => {
  test.each([
    [{ name: "KafkaJSProtocolError", type: "TOPIC_AUTHORIZATION_FAILED" }, "FORBIDDEN", false],
    [{ name: "KafkaJSProtocolError", type: "UNKNOWN_TOPIC_OR_PARTITION" }, "NOT_FOUND", false],
    [{ name: "KafkaJSProtocolError", type: "MESSAGE_TOO_LARGE" }, "TOO_LARGE", false],
    [{ name: "KafkaJSProtocolError", type: "NOT_LEADER_FOR_PARTITION" }, "UNAVAILABLE", true],
    [{ name: "KafkaJSSASLAuthenticationError" }, "UNAUTHORIZED", false],
    [{ name: "KafkaJSRequestTimeoutError" }, "UNAVAILABLE", true],
    [{ name: "KafkaJSConnectionError", code: "ECONNREFUSED" }, "UNAVAILABLE", true],
    [{ name: "KafkaJSConnectionError", code: "CERT_HAS_EXPIRED" }, "CONFIG", false],
    [{ name: "KafkaJSSomethingNew" }, "UNKNOWN", false],
  ])("%o is %s", (fields, code, retryable) => {
    expect(toDriverError(kafkaError(fields), "doing it")).toMatchObject({ code, retryable });
  });

  test("looks behind an outer error that says nothing", () => {
    const inner = kafkaError({
      name: "KafkaJSProtocolError",
      type: "ILLEGAL_GENERATION",
      message: "the generation is not valid",
    });
    const outer = kafkaError({ name: "KafkaJSNonRetriableError", type: "", retriable: false }, inner);
    const error = toDriverError(outer, "cannot commit", "wait");
    expect(error).toMatchObject({ code: "LOST", cause: outer });
    expect(error.message).toBe("kafka: cannot commit: the generation is not valid; wait");
  });

  test("looks into aggregates and survives a cause that is its own cause", () => {
    const aggregate = kafkaError({ name: "KafkaJSAggregateError", errors: [kafkaError({ type: "POLICY_VIOLATION" })] });
    expect(toDriverError(aggregate, "creating").code).toBe("FORBIDDEN");
    const ring = kafkaError({ name: "ring" });
    ring.cause = ring;
    expect(toDriverError(ring, "x").code).toBe("UNKNOWN");
  });

  test("keeps our own errors and takes what is no error", () => {
    const own = new DriverError("BUSY", "kafka: busy");
    expect(toDriverError(own, "x")).toBe(own);
    expect(toDriverError("boom", "cannot do it")).toMatchObject({
      code: "UNKNOWN",
      message: "kafka: cannot do it: boom",
    });
    expect(toDriverError(undefined, "cannot do it").code).toBe("UNKNOWN");
  });
});
