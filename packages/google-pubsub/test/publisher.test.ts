import { describe, expect, test } from "vitest";
import { status } from "../src/errors.ts";
import { type NativeMessage, type Published, Publisher } from "../src/publisher.ts";
import { FakeCalls, grpcError } from "./support/calls.ts";

const signal = new AbortController().signal;
const known = async () => undefined;

function message(text: string, orderingKey = ""): NativeMessage {
  return { data: Buffer.from(text), orderingKey };
}

function brief(results: readonly Published[]): readonly string[] {
  return results.map((result) =>
    "messageId" in result ? result.messageId : `${result.error.code}${result.unknown ? "?" : ""}`,
  );
}

describe("publisher", () => {
  test("one request of a key is under way; others do not wait for it", async () => {
    const calls = new FakeCalls();
    const publisher = new Publisher(calls);
    const first = publisher.publish("t", [message("1", "k")], known, signal);
    const second = publisher.publish("t", [message("2", "k")], known, signal);
    const other = publisher.publish("t", [message("3", "other")], known, signal);
    const call = await calls.next();
    expect(calls.open).toHaveLength(2);
    call.answer({ messageIds: ["a"] });
    (await calls.next()).answer({ messageIds: ["c"] });
    (await calls.next()).answer({ messageIds: ["b"] });
    expect((await Promise.all([first, second, other])).map(brief)).toEqual([["a"], ["b"], ["c"]]);
  });

  test("what is queued behind a failed one of its key is not sent; afterwards the key goes on", async () => {
    const calls = new FakeCalls();
    const publisher = new Publisher(calls);
    const first = publisher.publish("t", [message("1", "k")], known, signal);
    const second = publisher.publish("t", [message("2", "k"), message("3", "k")], known, signal);
    (await calls.next()).fail(grpcError(status.unavailable));
    expect(brief(await first)).toEqual(["UNAVAILABLE?"]);
    expect(brief(await second)).toEqual(["UNAVAILABLE", "UNAVAILABLE"]);
    expect(calls.log).toHaveLength(1);
    const again = publisher.publish("t", [message("1", "k")], known, signal);
    (await calls.next()).answer({ messageIds: ["a"] });
    expect(brief(await again)).toEqual(["a"]);
  });

  test("one message that the service refuses fails alone", async () => {
    const calls = new FakeCalls();
    const published = new Publisher(calls).publish(
      "t",
      ["1", "2", "3"].map((text) => message(text)),
      known,
      signal,
    );
    (await calls.next()).fail(grpcError(status.invalidArgument));
    (await calls.next()).answer({ messageIds: ["a", "b"] });
    (await calls.next()).fail(grpcError(status.invalidArgument));
    expect(brief(await published)).toEqual(["a", "b", "INVALID_MESSAGE"]);
  });

  test("and nothing of its key after it is stored", async () => {
    const calls = new FakeCalls();
    const messages = ["1", "2", "3"].map((text) => message(text, "k"));
    const published = new Publisher(calls).publish("t", messages, known, signal);
    (await calls.next()).fail(grpcError(status.invalidArgument));
    (await calls.next()).fail(grpcError(status.invalidArgument));
    (await calls.next()).fail(grpcError(status.invalidArgument));
    expect(brief(await published)).toEqual(["INVALID_MESSAGE", "UNAVAILABLE", "UNAVAILABLE"]);
  });

  test.each([
    [status.notFound, "details", "NOT_FOUND"],
    [status.permissionDenied, "details", "FORBIDDEN"],
    [status.unavailable, "No connection established. Last error: ECONNREFUSED", "UNAVAILABLE"],
    [status.unavailable, "read ECONNRESET", "UNAVAILABLE?"],
    [status.deadlineExceeded, "details", "UNAVAILABLE?"],
  ])("status %i (%s) is %s: stored only where nobody can tell", async (code, details, expected) => {
    const calls = new FakeCalls();
    const published = new Publisher(calls).publish("t", [message("1")], known, signal);
    (await calls.next()).fail(grpcError(code, details));
    expect(brief(await published)).toEqual([expected]);
  });
});
