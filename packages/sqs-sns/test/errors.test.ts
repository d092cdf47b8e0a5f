import { DriverError } from "@sluice/core/driver";
import { describe, expect, test } from "vitest";
import { storedNothing, translate, translateEntry } from "../src/errors.ts";

function service(name: string, message = "", status = 400, fault: "client" | "server" = "client"): Error {
  return Object.assign(new Error(message), { name, $fault: fault, $metadata: { httpStatusCode: status } });
}

function system(code: string, message = code): Error {
  return Object.assign(new Error(message), { code });
}

describe("translate", () => {
  test.each<[string, unknown, string, boolean]>([
    ["no queue", service("QueueDoesNotExist"), "NOT_FOUND", false],
    ["no queue, older protocol", service("AWS.SimpleQueueService.NonExistentQueue"), "NOT_FOUND", false],
    ["no topic", service("NotFoundException", "Topic does not exist", 404), "NOT_FOUND", false],
    ["a name that was deleted a moment ago", service("QueueDeletedRecently"), "UNAVAILABLE", true],
    ["other settings", service("QueueNameExists"), "MISMATCH", false],
    [
      "another filter",
      service("InvalidParameterException", "Subscription already exists with different attributes"),
      "MISMATCH",
      false,
    ],
    ["too many in flight", service("OverLimit"), "REFUSED", true],
    ["throttled", service("RequestThrottled"), "REFUSED", true],
    ["throttled by SNS", service("ThrottledException", "", 429), "REFUSED", true],
    ["throttled key", service("KmsThrottled"), "REFUSED", true],
    ["no right", service("AccessDeniedException", "", 403), "FORBIDDEN", false],
    ["no right for SNS", service("AuthorizationErrorException", "", 403), "FORBIDDEN", false],
    ["no right to the key", service("KmsAccessDenied"), "FORBIDDEN", false],
    ["wrong key id", service("InvalidClientTokenId", "", 403), "UNAUTHORIZED", false],
    ["wrong secret", service("SignatureDoesNotMatch", "", 403), "UNAUTHORIZED", false],
    ["no credentials", Object.assign(new Error("x"), { name: "CredentialsProviderError" }), "UNAUTHORIZED", false],
    ["expired", service("ExpiredTokenException", "", 403), "UNAUTHORIZED", true],
    ["an old handle", service("ReceiptHandleIsInvalid"), "LOST", true],
    [
      "an expired handle of a FIFO queue",
      service(
        "InvalidParameterValue",
        "Value x for parameter ReceiptHandle is invalid. Reason: The receipt handle has expired.",
      ),
      "LOST",
      true,
    ],
    ["characters that are not allowed", service("InvalidMessageContents"), "INVALID_MESSAGE", false],
    ["a batch that is too long", service("BatchRequestTooLong"), "TOO_LARGE", false],
    [
      "a message that is too long",
      service("InvalidParameter", "Invalid parameter: Message too long"),
      "TOO_LARGE",
      false,
    ],
    ["an error of theirs", service("InternalError", "", 500, "server"), "UNAVAILABLE", true],
    ["any error of theirs", service("Odd", "", 503, "server"), "UNAVAILABLE", true],
    ["a time limit", Object.assign(new Error("x"), { name: "TimeoutError" }), "UNAVAILABLE", true],
    ["nobody there", system("ECONNREFUSED"), "UNAVAILABLE", true],
    ["all addresses refused", new AggregateError([system("ECONNREFUSED")], ""), "UNAVAILABLE", true],
    ["an unknown host", system("ENOTFOUND"), "UNAVAILABLE", true],
    ["another service", service("UnknownError", "UnknownError", 400), "UNAVAILABLE", true],
    ["no region", new Error("Region is missing"), "CONFIG", false],
    ["anything else", new Error("what"), "UNKNOWN", false],
    ["no error at all", "text", "UNKNOWN", false],
  ])("%s", (_, error, code, retryable) => {
    const translated = translate(error, 'cannot send to topic "orders"');
    expect([translated.code, translated.retryable]).toEqual([code, retryable]);
    expect(translated.message).toMatch(/^sqs-sns: cannot send to topic "orders": /);
    expect(translated.cause).toBe(error);
  });

  test("what is translated stays as it is", () => {
    const error = new DriverError("BUSY", "sqs-sns: x");
    expect(translate(error, "y")).toBe(error);
  });

  test("an entry of a batch", () => {
    const error = translateEntry({ Code: "InvalidMessageContents", Message: "bad" }, "cannot send");
    expect(error.code).toBe("INVALID_MESSAGE");
    expect(error.message).toContain("bad");
  });
});

describe("storedNothing", () => {
  test.each<[string, unknown, boolean]>([
    ["refused connection", system("ECONNREFUSED"), true],
    ["all addresses refused", new AggregateError([system("ECONNREFUSED"), system("ENETUNREACH")]), true],
    ["the service said no", service("OverLimit"), true],
    ["cut while the answer was awaited", system("ECONNRESET"), false],
    ["a time limit", Object.assign(new Error("x"), { name: "TimeoutError" }), false],
    ["an error of theirs", service("InternalError", "", 500, "server"), false],
    ["a checksum that is wrong came after the store", new Error("Invalid MD5 checksum on messages: 1"), false],
  ])("%s", (_, error, expected) => {
    expect(storedNothing(error)).toBe(expected);
  });
});
