import { DriverError } from "@sluice/core/driver";
import { describe, expect, test } from "vitest";
import { inequivalent, translate } from "../src/errors.ts";

function native(message: string, code?: number | string): Error {
  return Object.assign(new Error(message), code === undefined ? {} : { code });
}

describe("translate", () => {
  test.each<[string, Error, string, boolean]>([
    ["refused connection", native("connect ECONNREFUSED 127.0.0.1:1", "ECONNREFUSED"), "UNAVAILABLE", true],
    ["unknown host", native("getaddrinfo ENOTFOUND nohost", "ENOTFOUND"), "UNAVAILABLE", true],
    [
      "all addresses refused",
      new AggregateError([native("connect ECONNREFUSED ::1:1", "ECONNREFUSED")], ""),
      "UNAVAILABLE",
      true,
    ],
    ["untrusted certificate", native("self-signed certificate", "DEPTH_ZERO_SELF_SIGNED_CERT"), "CONFIG", false],
    ["no AMQP there", native("Frame size 1345270062 exceeds maxFrameSize 67108864"), "CONFIG", false],
    [
      "wrong password",
      native('Handshake terminated by server: 403 (ACCESS-REFUSED) with message "ACCESS_REFUSED - Login was refused"'),
      "UNAUTHORIZED",
      false,
    ],
    ["wrong vhost", native("Expected ConnectionOpenOk; got <ConnectionClose channel:0>"), "NOT_FOUND", false],
    [
      "connection limit",
      native('Connection closed: 530 (NOT-ALLOWED) with message "NOT_ALLOWED - connection limit (1) is reached"', 530),
      "UNAVAILABLE",
      true,
    ],
    ["closed in the handshake", native("Socket closed abruptly during opening handshake"), "UNAVAILABLE", true],
    ["every channel taken", native("No channels left to allocate"), "UNSUPPORTED", false],
    ["silent peer", native("Heartbeat timeout"), "UNAVAILABLE", true],
    ["operator's close", native("Connection closed: 320 (CONNECTION-FORCED)", 320), "UNAVAILABLE", true],
    [
      "missing queue",
      native("Operation failed: QueueDeclare; 404 (NOT-FOUND) with message \"NOT_FOUND - no queue 'a'\"", 404),
      "NOT_FOUND",
      false,
    ],
    [
      "queue without a leader",
      native(
        "404 (NOT-FOUND) with message \"NOT_FOUND - failed to perform operation on queue 'a' in vhost '/' due to timeout\"",
        404,
      ),
      "UNAVAILABLE",
      true,
    ],
    ["no right", native("Operation failed: QueueDeclare; 403 (ACCESS-REFUSED)", 403), "FORBIDDEN", false],
    ["locked queue", native("405 (RESOURCE-LOCKED)", 405), "BUSY", true],
    ["other settings", native('406 (PRECONDITION-FAILED) with message "inequivalent arg"', 406), "MISMATCH", false],
    [
      "held for too long",
      native('406 (PRECONDITION-FAILED) with message "delivery acknowledgement on channel 1 timed out"', 406),
      "LOST",
      true,
    ],
    [
      "too large",
      native("406 (PRECONDITION_FAILED) message size 16777217 is larger than configured max size 16777216", 406),
      "TOO_LARGE",
      false,
    ],
    ["unsupported", native("540 (NOT_IMPLEMENTED)", 540), "UNSUPPORTED", false],
    ["no majority", native("541 (INTERNAL_ERROR)", 541), "UNAVAILABLE", true],
    ["refused message", native("message nacked"), "REFUSED", true],
    ["closed channel", native("Channel closed"), "LOST", true],
    ["anything else", native("surprise"), "UNKNOWN", false],
  ])("%s", (_, error, code, retryable) => {
    const translated = translate(error, "cannot try");
    expect(translated).toMatchObject({ code, retryable, cause: error });
    expect(translated.message).toMatch(/^rabbitmq: cannot try: ./);
  });

  test("says what to do", () => {
    expect(translate(native("no queue", 404), 'cannot consume "orders.billing"').message).toBe(
      "rabbitmq: cannot consume \"orders.billing\": no queue; create it, or connect with provision: 'create'",
    );
  });

  test("leaves its own errors alone, and takes what is no error", () => {
    const own = new DriverError("BUSY", "rabbitmq: later");
    expect(translate(own, "x")).toBe(own);
    expect(translate("text", "x").message).toBe("rabbitmq: x: text");
  });
});

describe("inequivalent", () => {
  test.each([
    [
      "PRECONDITION_FAILED - inequivalent arg 'x-delivery-limit' for queue 'q' in vhost '/': received the value '50' of type 'signedint' but current is the value '20' of type 'signedint'",
      "x-delivery-limit is 20, wanted 50",
    ],
    [
      "PRECONDITION_FAILED - inequivalent arg 'x-delivery-limit' for queue 'q' in vhost '/': received none but current is the value '20' of type 'signedint'",
      "x-delivery-limit is 20, wanted none",
    ],
    [
      "PRECONDITION_FAILED - inequivalent arg 'x-overflow' for queue 'q' in vhost '/': received the value 'reject-publish' of type 'longstr' but current is none",
      "x-overflow is none, wanted reject-publish",
    ],
    [
      "PRECONDITION_FAILED - inequivalent arg 'type' for exchange 'e' in vhost '/': received 'topic' but current is 'direct'",
      "type is direct, wanted topic",
    ],
    [
      "PRECONDITION_FAILED - inequivalent arg 'durable' for queue 'q' in vhost '/': received 'true' but current is 'false'",
      "durable is false, wanted true",
    ],
  ])("%s", (message, expected) => {
    expect(inequivalent(new Error(message))).toBe(expected);
  });

  test("anything else is none", () => {
    expect(inequivalent(new Error("406"))).toBeUndefined();
  });
});
