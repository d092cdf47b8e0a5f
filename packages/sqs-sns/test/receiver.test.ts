import {
  ChangeMessageVisibilityBatchCommand,
  DeleteMessageBatchCommand,
  type Message,
  SendMessageBatchCommand,
  SendMessageCommand,
} from "@aws-sdk/client-sqs";
import type { Delivery } from "@sluice/core/driver";
import { describe, expect, test } from "vitest";
import { bodies, letters, open } from "./support/receiving.ts";
import { message } from "./support/service.ts";

const never = new AbortController().signal;

function handlesOf(input: Record<string, unknown> | undefined): string[] {
  const entries = (input?.["Entries"] ?? []) as readonly { readonly ReceiptHandle: string }[];
  return entries.map(({ ReceiptHandle }) => ReceiptHandle.split("-")[1] ?? "");
}

/** Receives what one poll brings. */
async function take(parts: ReturnType<typeof open>, messages: readonly Message[]): Promise<readonly Delivery[]> {
  const receiving = parts.receiver.receive(100, never);
  await parts.world.settle();
  parts.service.polls[0]?.answer(messages);
  return receiving;
}

describe("polls", () => {
  test("run only while somebody waits for messages", async () => {
    const parts = open();
    expect(parts.service.polls).toHaveLength(0);
    const receiving = parts.receiver.receive(10, never);
    await parts.world.settle();
    expect(parts.service.polls).toHaveLength(1);
    parts.service.polls[0]?.answer(letters("AB"));
    expect(bodies(await receiving)).toEqual(["A", "B"]);
    await parts.world.settle();
    expect(parts.service.polls).toHaveLength(0);
  });

  test("of an idle queue get longer in steps", async () => {
    const parts = open();
    void parts.receiver.receive(10, never);
    const waits: unknown[] = [];
    for (let poll = 0; poll < 6; poll++) {
      await parts.world.settle();
      const { input } = parts.service.polls[0] ?? {};
      waits.push(input?.WaitTimeSeconds);
      await parts.world.advance(Number(input?.WaitTimeSeconds) * 1_000);
    }
    expect(waits).toEqual([1, 2, 5, 10, 20, 20]);
  });

  test("ask for everything, and never for more than the window has left", async () => {
    const parts = open({ window: 7 });
    void parts.receiver.receive(100, never);
    await parts.world.settle();
    expect(parts.service.polls[0]?.input).toMatchObject({
      MaxNumberOfMessages: 7,
      VisibilityTimeout: 30,
      MessageAttributeNames: ["All"],
      MessageSystemAttributeNames: ["All"],
    });
  });

  test("share the window among queues, so that an empty one does not keep it from the others", async () => {
    const parts = open({ queues: ["a", "b", "c"], window: 9 });
    void parts.receiver.receive(100, never);
    await parts.world.settle();
    expect(parts.service.polls.map(({ input }) => input.MaxNumberOfMessages)).toEqual([3, 3, 3]);
  });

  test("of many queues ask for as much as those need that can be asked at once", async () => {
    const queues = Array.from({ length: 1_000 }, (_, n) => `q${n}`);
    const parts = open({ queues, window: 280 });
    void parts.receiver.receive(100, never);
    await parts.world.settle();
    expect(new Set(parts.service.polls.map(({ input }) => input.MaxNumberOfMessages))).toEqual(new Set([10]));
  });

  test("of a thousand queues are never more than the slots, and everyone's turn comes", async () => {
    const queues = Array.from({ length: 1_000 }, (_, n) => `q${n}`);
    const parts = open({ queues, slots: 28 });
    const asked = new Set<string>();
    void parts.receiver.receive(100, never);
    for (let second = 0; second < 80; second++) {
      await parts.world.settle();
      for (const { input } of parts.service.polls) asked.add(input.QueueUrl ?? "");
      await parts.world.advance(1_000);
    }
    expect(parts.service.mostPolls).toBe(25);
    expect(asked.size).toBe(1_000);
  });

  test("of many idle queues are so many a second, and everyone's turn comes", async () => {
    const queues = Array.from({ length: 400 }, (_, n) => `q${n}`);
    const parts = open({ queues, slots: 28 });
    void parts.receiver.receive(100, never);
    const perSecond = async (seconds: number) => {
      const asked = new Set<string>();
      let requests = 0;
      let before = new Set<unknown>();
      for (let second = 0; second < seconds; second++) {
        await parts.world.settle();
        for (const poll of parts.service.polls) {
          if (!before.has(poll)) requests++;
          asked.add(poll.input.QueueUrl ?? "");
        }
        before = new Set<unknown>(parts.service.polls);
        await parts.world.advance(1_000);
      }
      return { queues: asked.size, requests: requests / seconds };
    };
    // The first turn is quick: nobody knows yet what waits where.
    await perSecond(20);
    const later = await perSecond(60);
    expect(later.queues).toBe(400);
    expect(later.requests).toBeGreaterThan(7);
    expect(later.requests).toBeLessThan(9);
  });

  test("of idle queues leave slots for a queue that is sent to from here, by its topic or its url", async () => {
    const queues = Array.from({ length: 300 }, (_, n) => `q${n}`);
    const parts = open({ queues });
    void parts.receiver.receive(100, never);
    await parts.world.settle();
    const asked = () => parts.service.polls.map(({ input }) => input.QueueUrl);
    expect(asked()).not.toContain("http://sqs/q200");
    parts.polls.wake("q200");
    parts.polls.wake("http://sqs/q201");
    parts.polls.wake("q999");
    await parts.world.settle();
    expect(asked()).toEqual(expect.arrayContaining(["http://sqs/q200", "http://sqs/q201"]));
    expect(asked()).toHaveLength(27);
  });

  test("that end empty while something is on its way are begun again at once", async () => {
    const queues = Array.from({ length: 300 }, (_, n) => `q${n}`);
    const parts = open({ queues });
    void parts.receiver.receive(100, never);
    await parts.world.settle();
    const [first, second] = parts.service.polls;
    parts.polls.wake("q0");
    first?.answer([]);
    second?.answer([]);
    await parts.world.settle();
    const asked = parts.service.polls.map(({ input }) => input.QueueUrl);
    expect(asked).toContain("http://sqs/q0");
    expect(asked).not.toContain("http://sqs/q1");
  });

  test("of a receiver that has stopped are not begun again by what is sent", async () => {
    const parts = open({ queues: ["a", "b"], slots: 1 });
    void parts.receiver.receive(10, never);
    await parts.world.settle();
    const closing = parts.receiver.close(never);
    parts.polls.wake("b");
    await parts.world.advance(30_000);
    await closing;
    expect(parts.service.polls).toEqual([]);
  });

  test("of one slot reach every queue in turn, also behind one that is always busy", async () => {
    const parts = open({ queues: ["a", "b", "c"], slots: 1, waitSeconds: 2 });
    const asked: string[] = [];
    let reading = true;
    const read = async () => {
      while (reading) await parts.receiver.receive(10, never);
    };
    void read();
    for (let turn = 0; turn < 60; turn++) {
      await parts.world.settle();
      const [poll] = parts.service.polls;
      const queue = poll?.input.QueueUrl?.slice(-1) ?? "-";
      asked.push(queue);
      if (queue === "a") poll?.answer([message(`m${turn}`)]);
      else await parts.world.advance(500);
    }
    expect(new Set(asked)).toEqual(new Set(["a", "b", "c"]));
    expect(asked).not.toContain("-");
    expect(asked.filter((queue) => queue === "a").length).toBeGreaterThan(8);
    reading = false;
  });

  test("of busy queues do not starve the others", async () => {
    const queues = Array.from({ length: 40 }, (_, n) => `q${n}`);
    const parts = open({ queues, slots: 4, window: 10_000 });
    const asked = new Set<string>();
    let brought = 0;
    const reading = (async () => {
      while (brought < 2_000) await parts.receiver.receive(1_000, never);
    })();
    while (brought < 2_000) {
      await parts.world.settle();
      for (const { input } of parts.service.polls) asked.add(input.QueueUrl ?? "");
      const busy = parts.service.polls.filter(({ input }) => /q[012]$/.test(input.QueueUrl ?? ""));
      for (const poll of busy) poll.answer([message(`m${++brought}`)]);
      await parts.world.advance(20);
      if (asked.size === 40) break;
    }
    expect(asked.size).toBe(40);
    brought = 2_000;
    await parts.world.settle();
    for (const poll of parts.service.polls.slice()) poll.answer([message("last")]);
    await reading;
  });

  test("after a failure wait longer and longer, and go on", async () => {
    const parts = open();
    void parts.receiver.receive(10, never);
    let attempts = 0;
    for (let tenth = 0; tenth < 100; tenth++) {
      await parts.world.settle();
      const [poll] = parts.service.polls;
      if (poll) attempts++;
      poll?.fail(Object.assign(new Error("connect"), { code: "ECONNREFUSED" }));
      await parts.world.advance(100);
    }
    expect(attempts).toBeGreaterThan(4);
    expect(attempts).toBeLessThanOrEqual(15);
    await parts.world.advance(2_000);
    await parts.world.settle();
    expect(parts.service.polls).toHaveLength(1);
  });

  test("that find no queue end the receiver", async () => {
    const parts = open();
    const receiving = parts.receiver.receive(10, never);
    await parts.world.settle();
    parts.service.polls[0]?.fail(Object.assign(new Error("gone"), { name: "QueueDoesNotExist" }));
    expect(await receiving).toEqual([]);
    expect(await parts.receiver.closed).toMatchObject({ code: "NOT_FOUND" });
  });

  test("that are refused because too much is in flight are told, and tried again", async () => {
    const parts = open();
    void parts.receiver.receive(10, never);
    await parts.world.settle();
    parts.service.polls[0]?.fail(Object.assign(new Error("limit"), { name: "OverLimit" }));
    await parts.world.advance(2_000);
    expect(parts.events.map(({ kind }) => kind)).toEqual(["throttled"]);
    expect(parts.service.polls).toHaveLength(1);
  });

  test("of a FIFO queue whose answer was lost use the same attempt id again", async () => {
    const parts = open({ queues: ["q.fifo"] });
    void parts.receiver.receive(10, never);
    await parts.world.settle();
    const [first] = parts.service.polls;
    first?.fail(Object.assign(new Error("cut"), { code: "ECONNRESET" }));
    await parts.world.advance(300);
    const [second] = parts.service.polls;
    expect(second?.input.ReceiveRequestAttemptId).toBe(first?.input.ReceiveRequestAttemptId);
    second?.answer([]);
    await parts.world.settle();
    expect(parts.service.polls[0]?.input.ReceiveRequestAttemptId).not.toBe(first?.input.ReceiveRequestAttemptId);
  });
});

describe("settling", () => {
  test("deletes in batches of ten, and tries again exactly what failed by the service's fault", async () => {
    const parts = open();
    const taken = [...(await take(parts, letters("ABCDEFGHIJ"))), ...(await take(parts, letters("KL")))];
    let first = true;
    parts.service.failures = (_, entries) => {
      if (!first) return [];
      first = false;
      return entries.slice(0, 2).map(({ Id = "" }) => ({ Id, Code: "InternalError", SenderFault: false }));
    };
    const results = await parts.receiver.settle(taken.map((delivery) => ({ delivery, accept: true })));
    expect(results).toEqual(taken.map(() => "sent"));
    const calls = parts.service.of(DeleteMessageBatchCommand).map(handlesOf);
    expect(calls.map((each) => each.length)).toEqual([10, 2, 2]);
    expect(calls.at(-1)).toEqual(["A", "B"]);
  });

  test("answers lost for a handle that is refused, twice settled, or foreign", async () => {
    const parts = open({ queues: ["q.fifo"] });
    const [one, other] = await take(parts, [message("A", { group: "1" }), message("B", { group: "2" })]);
    if (!one || !other) throw new Error("nothing came");
    parts.service.failures = (_, [entry]) => [
      { Id: entry?.Id ?? "", Code: "ReceiptHandleIsInvalid", SenderFault: true },
    ];
    expect(
      await parts.receiver.settle([
        { delivery: one, accept: true },
        { delivery: other, accept: true },
        { delivery: other, accept: true },
      ]),
    ).toEqual(["lost", "durable", "lost"]);
  });

  test("of a lease that ended says lost, and touches nothing", async () => {
    const parts = open();
    const [delivery] = await take(parts, letters("A"));
    if (!delivery) throw new Error("nothing came");
    await parts.world.advance(30_000);
    expect(parts.lost).toEqual([{ bodies: ["A"], reason: "expired" }]);
    expect(await parts.receiver.settle([{ delivery, accept: true }])).toEqual(["lost"]);
    expect(parts.service.of(DeleteMessageBatchCommand)).toEqual([]);
  });

  test("releases the head of a group together with everything after it, the last first", async () => {
    const parts = open({ queues: ["q.fifo"] });
    const taken = await take(parts, letters("ABC", "k"));
    const [head] = taken;
    if (!head) throw new Error("nothing came");
    expect(await parts.receiver.settle([{ delivery: head, accept: false, release: "failed" }])).toEqual(["durable"]);
    expect(parts.lost).toEqual([{ bodies: ["B", "C"], reason: "revoked" }]);
    const [call] = parts.service.of(ChangeMessageVisibilityBatchCommand);
    expect(handlesOf(call)).toEqual(["C", "B", "A"]);
    expect(call?.["Entries"]).toMatchObject([{ VisibilityTimeout: 0 }, {}, {}]);
  });
});

describe("leases", () => {
  test("are renewed for as long as asked, in one call for ten", async () => {
    const parts = open();
    const taken = await take(parts, letters("ABCDEFGHIJ"));
    for (let third = 0; third < 9; third++) {
      await parts.world.advance(10_000);
      expect(await parts.receiver.extend(taken, 30_000)).toEqual([]);
    }
    expect(parts.lost).toEqual([]);
    expect(parts.service.of(ChangeMessageVisibilityBatchCommand)).toHaveLength(9);
  });

  test("that the service refuses are lost", async () => {
    const parts = open();
    const taken = await take(parts, letters("AB"));
    parts.service.failures = (_, entries) =>
      entries.slice(0, 1).map(({ Id = "" }) => ({ Id, Code: "ReceiptHandleIsInvalid", SenderFault: true }));
    expect(bodies(await parts.receiver.extend(taken, 30_000))).toEqual(["A"]);
  });

  test("that are refused because the message was settled meanwhile are no loss, nor is what comes after it", async () => {
    const parts = open({ queues: ["q.fifo"] });
    const [head, next] = await take(parts, letters("AB", "k"));
    if (!head || !next) throw new Error("nothing came");
    parts.service.failures = (name, [entry]) =>
      name === ChangeMessageVisibilityBatchCommand.name
        ? [{ Id: entry?.Id ?? "", Code: "ReceiptHandleIsInvalid", SenderFault: true }]
        : [];
    const extending = parts.receiver.extend([head, next], 30_000);
    const settling = parts.receiver.settle([{ delivery: head, accept: true }]);
    expect(bodies(await extending)).toEqual([]);
    expect(await settling).toEqual(["durable"]);
    parts.service.failures = undefined;
    expect(await parts.receiver.settle([{ delivery: next, accept: true }])).toEqual(["durable"]);
  });

  test("end after twelve hours, whoever renews them", async () => {
    const parts = open();
    const taken = await take(parts, letters("A"));
    const [delivery] = taken;
    if (!delivery) throw new Error("nothing came");
    let lost: readonly Delivery[] = [];
    let hours = 0;
    for (; hours < 13 && lost.length === 0; hours += 1 / 360) {
      await parts.world.advance(10_000);
      lost = await parts.receiver.extend(taken, 30_000);
    }
    expect(bodies(lost)).toEqual(["A"]);
    expect(hours).toBeGreaterThan(11.9);
    expect(hours).toBeLessThanOrEqual(12);
  });

  test("of a FIFO head that ended take everything after it along", async () => {
    const parts = open({ queues: ["q.fifo"] });
    const [head, ...tail] = await take(parts, letters("ABC", "k"));
    if (!head) throw new Error("nothing came");
    await parts.world.advance(10_000);
    await parts.receiver.extend(tail, 30_000);
    await parts.world.advance(20_000);
    expect(parts.lost).toEqual([{ bodies: ["A", "B", "C"], reason: "expired" }]);
    expect(handlesOf(parts.service.of(ChangeMessageVisibilityBatchCommand).at(-1))).toEqual(["C", "B"]);
  });
});

describe("what is not for core", () => {
  test("a message that a filter does not match is deleted unseen; one that came back by its own entry is not", async () => {
    const parts = open({ filter: { region: "eu" } });
    const region = (value: string) => ({ region: { DataType: "String", StringValue: value } });
    const retried = { sluice: { DataType: "String", StringValue: '{"sluice-hop":"1"}' } };
    const taken = await take(parts, [
      { ...message("A"), MessageAttributes: region("us") },
      { ...message("B"), MessageAttributes: region("eu") },
      { ...message("C"), MessageAttributes: retried },
    ]);
    expect(bodies(taken)).toEqual(["B", "C"]);
    await parts.world.settle();
    expect(handlesOf(parts.service.of(DeleteMessageBatchCommand)[0])).toEqual(["A"]);
  });
});

describe("a message that waits longer than a queue can delay", () => {
  const waiting = (body: string, at: number): Message => ({
    ...message(body),
    MessageAttributes: {
      sluice: {
        DataType: "String",
        StringValue: JSON.stringify({ "sluice-id": body, "sluice-not-before": `${at}` }),
      },
    },
  });
  const hidden = ({ service }: ReturnType<typeof open>) =>
    service.of(ChangeMessageVisibilityBatchCommand).map((input) => {
      const [entry] = input["Entries"] as readonly { readonly VisibilityTimeout: number }[];
      return entry?.VisibilityTimeout;
    });
  const failing = async (name: string, $fault: string, dueMs: number) => {
    const parts = open();
    parts.service.refusal = Object.assign(new Error(name), { name, $fault });
    const receiving = parts.receiver.receive(100, never);
    await parts.world.settle();
    parts.service.polls[0]?.answer([waiting("A", parts.world.now() + dueMs)]);
    await parts.world.settle();
    return { ...parts, receiving };
  };

  test("is sent on with the next delay, unseen, until it is due", async () => {
    const parts = open();
    const due = parts.world.now() + 1_000_000;
    const taken = await take(parts, [waiting("A", due), waiting("B", parts.world.now())]);
    expect(taken.map(({ id, headers }) => [id, { ...headers }])).toEqual([["B", {}]]);
    await parts.world.settle();
    const [copy] = parts.service.of(SendMessageCommand);
    expect(copy).toMatchObject({
      MessageBody: "A",
      DelaySeconds: 900,
      MessageAttributes: waiting("A", due).MessageAttributes,
    });
    expect(handlesOf(parts.service.of(DeleteMessageBatchCommand)[0])).toEqual(["A"]);
  });

  test("and may not be sent on stays hidden until it is due, so that it is not counted, and is reported", async () => {
    const parts = await failing("AccessDenied", "client", 3_600_000);
    expect(hidden(parts)).toEqual([3_600]);
    expect(parts.service.of(DeleteMessageBatchCommand)).toEqual([]);
    expect(await parts.receiver.closed).toMatchObject({
      code: "FORBIDDEN",
      message: expect.stringContaining('queue "q"'),
    });
  });

  test("and is due in days is hidden for as long as the service hides anything", async () => {
    expect(hidden(await failing("AccessDenied", "client", 5 * 86_400_000))).toEqual([43_080]);
  });

  test("and cannot be sent on for the moment is tried again after a quarter of an hour, and is reported", async () => {
    const parts = await failing("ServiceUnavailable", "server", 3_600_000);
    expect(hidden(parts)).toEqual([900]);
    expect(parts.service.of(DeleteMessageBatchCommand)).toEqual([]);
    expect(parts.events).toMatchObject([{ kind: "throttled", source: { topic: "q" } }]);
    await parts.world.run(parts.receiver.close(never));
  });

  test("and cannot be deleted is hidden until it is due: every receipt would make one more copy", async () => {
    const parts = open();
    parts.service.failures = (name, entries) =>
      name === "DeleteMessageBatchCommand"
        ? entries.map(({ Id = "" }) => ({ Id, Code: "InternalError", SenderFault: false }))
        : [];
    void parts.receiver.receive(100, never);
    await parts.world.settle();
    parts.service.polls[0]?.answer([waiting("A", parts.world.now() + 3_600_000)]);
    await parts.world.settle();
    expect(hidden(parts)).toEqual([3_600]);
  });
});

describe("the end", () => {
  test("gives back what core has not seen, and what open polls still bring", async () => {
    const parts = open();
    const first = await take(parts, letters("ABC"));
    const receiving = parts.receiver.receive(10, never);
    await parts.world.settle();
    const stopping = parts.receiver.stop(never);
    expect(await receiving).toEqual([]);
    await parts.world.run(stopping);
    parts.service.polls[0]?.answer(letters("D"));
    await parts.world.settle();
    expect(handlesOf(parts.service.of(ChangeMessageVisibilityBatchCommand)[0])).toEqual(["D"]);
    expect(await parts.receiver.settle(first.map((delivery) => ({ delivery, accept: true })))).toEqual([
      "sent",
      "sent",
      "sent",
    ]);
    await parts.world.run(parts.receiver.close(never));
    expect(parts.world.timers).toBe(0);
  });

  test("waits for an open poll instead of cutting it: the service would hide what it gets", async () => {
    const parts = open();
    void parts.receiver.receive(10, never);
    await parts.world.settle();
    const closing = parts.receiver.close(never);
    await parts.world.advance(900);
    expect(parts.service.polls).toHaveLength(1);
    await parts.world.run(closing);
    expect(parts.service.polls).toHaveLength(0);
  });

  test("cuts it when the caller's patience ends", async () => {
    const parts = open();
    void parts.receiver.receive(10, never);
    await parts.world.settle();
    await parts.world.run(parts.receiver.close(AbortSignal.abort()));
    expect(parts.service.polls).toHaveLength(0);
    expect(await parts.receiver.closed).toBeUndefined();
  });

  test("of messages that were handed out before sends copies: a count that rises looks like a crash", async () => {
    const parts = open();
    void parts.receiver.receive(10, never);
    await parts.world.settle();
    await parts.world.run(parts.receiver.stop(never));
    parts.service.polls[0]?.answer([message("A", { count: 3 }), message("B")]);
    await parts.world.settle();
    expect(parts.copies.map(({ record }) => [record.id, record.headers["sluice-hand-outs"]])).toEqual([["id-A", "2"]]);
    expect(handlesOf(parts.service.of(DeleteMessageBatchCommand)[0])).toEqual(["A"]);
    expect(handlesOf(parts.service.of(ChangeMessageVisibilityBatchCommand)[0])).toEqual(["B"]);
    expect(parts.service.of(SendMessageBatchCommand)).toEqual([]);
    await parts.world.run(parts.receiver.close(never));
  });

  test("delays what goes back while a poll of ours is open, so that it does not get it", async () => {
    const parts = open();
    const taken = await take(parts, letters("AB"));
    void parts.receiver.receive(10, never);
    await parts.world.settle();
    await parts.world.run(parts.receiver.stop(never));
    await parts.receiver.settle(taken.map((delivery) => ({ delivery, accept: false, release: "returned" })));
    const [call] = parts.service.of(ChangeMessageVisibilityBatchCommand);
    expect(call?.["Entries"]).toMatchObject([{ VisibilityTimeout: 1 }, { VisibilityTimeout: 1 }]);
    await parts.world.run(parts.receiver.close(never));
  });
});
