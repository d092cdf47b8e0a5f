import { DriverError, type DriverErrorCode } from "@sluice/core/driver";
import { expect, test } from "vitest";
import { isPassing, notRenewed, status, statusOf, translate } from "../src/errors.ts";
import { grpcError } from "./support/calls.ts";

test.each<readonly [number, DriverErrorCode, boolean]>([
  [status.cancelled, "UNAVAILABLE", true],
  [status.invalidArgument, "INVALID_MESSAGE", false],
  [status.deadlineExceeded, "UNAVAILABLE", true],
  [status.notFound, "NOT_FOUND", false],
  [status.permissionDenied, "FORBIDDEN", false],
  [status.resourceExhausted, "REFUSED", true],
  [status.unimplemented, "UNSUPPORTED", false],
  [status.internal, "UNAVAILABLE", true],
  [status.unavailable, "UNAVAILABLE", true],
  [status.unauthenticated, "UNAUTHORIZED", false],
])("status %i is %s", (code, expected, retryable) => {
  const native = grpcError(code, "why");
  const error = translate(native, 'cannot pull from "a~b"');
  expect(error).toMatchObject({ code: expected, retryable, cause: native });
  expect(error.message).toMatch(/^google-pubsub: cannot pull from "a~b": why/);
  expect(statusOf(error)).toBe(code);
});

test("what nothing matches stays unknown, with its cause", () => {
  const native = new TypeError("odd");
  expect(translate(native, "cannot")).toMatchObject({ code: "UNKNOWN", retryable: false, cause: native });
  expect(translate("text", "cannot").message).toBe("google-pubsub: cannot: text");
});

test("missing credentials are no unknown error", () => {
  const native = new Error("Could not load the default credentials. Browse to https://…");
  expect(translate(native, "cannot connect").code).toBe("UNAUTHORIZED");
});

test("credentials that cannot be renewed: nothing was sent, and the next try may have new ones", () => {
  // As gRPC hands it on: the text, and a code that is one of its own.
  const handedOn = (reason: Error) => {
    const native = notRenewed(reason);
    return grpcError(
      statusOf(native) ?? status.unknown,
      `Getting metadata from plugin failed with error: ${native.message}`,
    );
  };
  const ill = Object.assign(new Error("Request failed with status code 503"), { code: 503 });
  const error = translate(handedOn(ill), "cannot publish");
  expect(error).toMatchObject({ code: "UNAUTHORIZED", retryable: true });
  expect(error.message).toContain("could not be renewed: Request failed with status code 503");
  expect(statusOf(error)).toBe(status.unauthenticated);
  const revoked = translate(handedOn(new Error("invalid_grant")), "cannot publish");
  expect(revoked).toMatchObject({ code: "UNAUTHORIZED", retryable: false });
});

test("a DriverError passes unchanged", () => {
  const error = new DriverError("LOST", "gone");
  expect(translate(error, "cannot")).toBe(error);
});

test("a stream that ends may be opened again, one without its subscription not", () => {
  expect([status.ok, status.unavailable, status.internal].map(isPassing)).toEqual([true, true, true]);
  expect([status.notFound, status.permissionDenied].map(isPassing)).toEqual([false, false]);
});
