// Redrive by the service's own task. n.b. Neither stand-in has one: the front before fauxqs FAKES these three calls, and nothing
// else. It really moves the messages there, one after another and as they are; how the real service does it is not shown here.
import { randomUUID } from "node:crypto";
import { createServer, type IncomingMessage, request as forward, type Server, type ServerResponse } from "node:http";
import { buffer } from "node:stream/consumers";
import {
  DeleteMessageCommand,
  GetQueueUrlCommand,
  type ListMessageMoveTasksResultEntry,
  type Message,
  ReceiveMessageCommand,
  SendMessageCommand,
  SQSClient,
} from "@aws-sdk/client-sqs";
import { type Bus, connect, PermanentError, plan, topic } from "@sluice/core";
import { sqsSns } from "@sluice/sqs-sns";
import { startFauxqs } from "fauxqs";
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test, vi } from "vitest";

type Task = ListMessageMoveTasksResultEntry & { Status: string; ApproximateNumberOfMessagesMoved: number };

const patience = { timeout: 30_000, interval: 20 };
const credentials = { accessKeyId: "test", secretAccessKey: "test" };
let emulator: Awaited<ReturnType<typeof startFauxqs>>;
let front: Server;
let endpoint = "";
let raw: SQSClient;
/** Calls about tasks, in order. */
let asked: string[] = [];
let tasks: Task[] = [];
/** After so many messages tasks end so; or they wait there. */
let ending: { readonly after: number; readonly Status?: "FAILED"; readonly FailureReason?: string } | undefined;
let refused = "";

beforeAll(async () => {
  emulator = await startFauxqs({ port: 0, host: "127.0.0.1", logger: false });
  raw = new SQSClient({ endpoint: `http://127.0.0.1:${emulator.port}`, region: "us-east-1", credentials });
  front = createServer((incoming, outgoing) => void pass(incoming, outgoing));
  await new Promise<void>((resolve) => front.listen(0, "127.0.0.1", resolve));
  const address = front.address();
  endpoint = `http://127.0.0.1:${typeof address === "object" ? address?.port : ""}`;
});

afterAll(async () => {
  front.closeAllConnections();
  front.close();
  raw.destroy();
  await emulator.stop();
});

beforeEach(() => {
  asked = [];
  tasks = [];
  ending = undefined;
  refused = "";
});

async function pass(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
  const body = await buffer(incoming);
  const { method, headers, url } = incoming;
  const action = String(headers["x-amz-target"] ?? "").replace("AmazonSQS.", "");
  if (action.includes("MessageMoveTask")) return answer(action, body, outgoing);
  const inner = forward({ host: "127.0.0.1", port: emulator.port, path: url, method, headers }, (reply) => {
    outgoing.writeHead(reply.statusCode ?? 500, reply.headers);
    reply.pipe(outgoing);
  });
  inner.on("error", () => outgoing.destroy());
  inner.end(body);
}

function answer(action: string, body: Buffer, outgoing: ServerResponse): void {
  asked.push(action);
  const input = JSON.parse(body.toString()) as Readonly<Record<string, string>>;
  outgoing.setHeader("content-type", "application/x-amz-json-1.0");
  if (action === refused) {
    outgoing.statusCode = 403;
    outgoing.end(JSON.stringify({ __type: "com.amazonaws.sqs#AccessDeniedException", message: "not allowed" }));
  } else if (action === "StartMessageMoveTask") {
    const TaskHandle = randomUUID();
    const state = { Status: "RUNNING", ApproximateNumberOfMessagesMoved: 0, StartedTimestamp: Date.now() };
    const task: Task = { TaskHandle, ...input, ...state };
    tasks.unshift(task);
    void moveAll(task);
    outgoing.end(JSON.stringify({ TaskHandle }));
  } else if (action === "ListMessageMoveTasks") {
    const Results = tasks.filter(({ SourceArn }) => SourceArn === input["SourceArn"]);
    outgoing.end(JSON.stringify({ Results }));
  } else {
    const task = tasks.find(({ TaskHandle }) => TaskHandle === input["TaskHandle"]);
    if (task) over(task, "CANCELLED");
    outgoing.end(JSON.stringify({ ApproximateNumberOfMessagesMoved: task?.ApproximateNumberOfMessagesMoved }));
  }
}

function over(task: Task, Status: string, FailureReason?: string): void {
  Object.assign(task, { Status, TaskHandle: undefined, FailureReason });
}

async function moveAll(task: Task): Promise<void> {
  for (;;) {
    const { ApproximateNumberOfMessagesMoved: count } = task;
    if (task.Status !== "RUNNING") return;
    if (ending && count >= ending.after) {
      if (ending.Status) over(task, ending.Status, ending.FailureReason);
      return;
    }
    if (!(await moveOne(urlOf(task.SourceArn), urlOf(task.DestinationArn)))) return over(task, "COMPLETED");
    task.ApproximateNumberOfMessagesMoved++;
  }
}

function urlOf(arn = ""): string {
  return `http://127.0.0.1:${emulator.port}/000000000000/${arn.split(":")[5]}`;
}

/** Unchanged: body, attributes, and in a FIFO queue message group and deduplication id. */
async function moveOne(from: string, to: string): Promise<Message | undefined> {
  const all = { MessageAttributeNames: ["All"], MessageSystemAttributeNames: ["All" as const] };
  const { Messages = [] } = await raw.send(new ReceiveMessageCommand({ QueueUrl: from, ...all }));
  const [message] = Messages;
  if (!message) return undefined;
  const { Body: MessageBody, MessageAttributes, Attributes = {}, ReceiptHandle } = message;
  const { MessageGroupId, MessageDeduplicationId } = Attributes;
  const fifo = MessageGroupId === undefined ? {} : { MessageGroupId, MessageDeduplicationId };
  await raw.send(new SendMessageCommand({ QueueUrl: to, MessageBody, MessageAttributes, ...fifo }));
  await raw.send(new DeleteMessageCommand({ QueueUrl: from, ReceiptHandle }));
  return message;
}

interface Order {
  readonly n: number;
}

/** A group whose handler gives everything up until it is healed. */
async function open(ordering: "none" | "key", to = endpoint) {
  const Orders = topic<Order>(`redrive-${randomUUID().slice(0, 8)}`, {
    groups: ["g"],
    ...(ordering === "key" ? { ordering, key: ({ n }: Order) => `k${n % 3}` } : { ordering }),
  });
  const bus: Bus = await connect(sqsSns({ endpoint: to, credentials, waitSeconds: 1, visibilitySeconds: 5 }));
  onTestFinished(() => bus.close());
  const seen: { readonly n: number; readonly attempt: number; readonly redrives: number; readonly reason?: string }[] =
    [];
  const state = { ill: true };
  await bus.subscribe(Orders, { group: "g" }, ({ n }, { message }) => {
    if (state.ill) throw new PermanentError("no rates");
    const reason = message.headers["dlq-reason"];
    seen.push({ n, attempt: message.attempt, redrives: message.redrives, ...(reason !== undefined && { reason }) });
  });
  const letters = bus.deadLetters(Orders, { group: "g" });
  const die = async (count: number) => {
    await Promise.all(Array.from({ length: count }, (_, n) => bus.publish(Orders, { n })));
    await vi.waitFor(async () => expect(await letters.count()).toBe(count), patience);
    state.ill = false;
  };
  return { bus, Orders, seen, state, letters, die };
}

function firstAttempts(count: number) {
  return Array.from({ length: count }, (_, n) => ({ n, attempt: 1, redrives: 1 }));
}

function inOrder<T extends Order>(seen: readonly T[]): T[] {
  return seen.toSorted((one, other) => one.n - other.n);
}

describe("a redrive of everything", () => {
  test.each(["none", "key"] as const)(
    "has the service move them: each is a first attempt, once (ordering: %s)",
    async (ordering) => {
      const { seen, letters, die } = await open(ordering);
      await die(30);
      expect(await letters.redrive()).toEqual({ redriven: 30, kept: 0 });
      await vi.waitFor(() => expect(seen.length).toBeGreaterThanOrEqual(30), patience);
      expect(await letters.count()).toBe(0);
      expect(inOrder(seen)).toEqual(firstAttempts(30));
      expect(asked).toContain("StartMessageMoveTask");
    },
    60_000,
  );

  test("of what dies again: its second letter counts the redrive, and no third comes of it", async () => {
    const { letters, die, state } = await open("none");
    await die(1);
    state.ill = true;
    await letters.redrive();
    await vi.waitFor(async () => expect(await letters.count()).toBe(1), patience);
    const [letter] = (await letters.list()).letters;
    expect(letter).toMatchObject({ reason: "permanent", redrives: 1, attempts: 1 });
    expect(letter?.headers["dlq-chain"]?.split(",")).toHaveLength(2);
  }, 60_000);

  test("that fails in the middle says so, and the others are still dead letters", async () => {
    const { seen, letters, die } = await open("none");
    await die(5);
    ending = { after: 2, Status: "FAILED", FailureReason: "AccessDenied" };
    await expect(letters.redrive()).rejects.toMatchObject({
      code: "FORBIDDEN",
      message: expect.stringMatching(/after about 2 of them.*still a dead letter/),
    });
    expect(await letters.count()).toBe(3);
    ending = undefined;
    expect(await letters.redrive()).toMatchObject({ redriven: 3 });
    await vi.waitFor(() => expect(inOrder(seen)).toEqual(firstAttempts(5)), patience);
  }, 60_000);

  test("ends with its signal, and the task with it", async () => {
    const { letters, die } = await open("none");
    await die(4);
    ending = { after: 1 };
    const caller = new AbortController();
    const redriving = letters.redrive({ signal: caller.signal });
    redriving.catch(() => {});
    await vi.waitFor(() => expect(tasks[0]?.ApproximateNumberOfMessagesMoved).toBe(1), patience);
    caller.abort();
    await expect(redriving).rejects.toMatchObject({ code: "ABORTED", message: expect.stringContaining("about 1") });
    expect(tasks.map(({ Status }) => Status)).toEqual(["CANCELLED"]);
    expect(await letters.count()).toBe(3);
  }, 60_000);

  test("that is not allowed names the right, which plan() lists", async () => {
    const { Orders, letters, die } = await open("none");
    await die(1);
    refused = "StartMessageMoveTask";
    await expect(letters.redrive()).rejects.toMatchObject({
      code: "FORBIDDEN",
      message: expect.stringContaining("sqs:StartMessageMoveTask"),
    });
    const { permissions } = plan(sqsSns(), [Orders]);
    const rights = permissions.consume.find(({ name }) => name.endsWith("_dlq"))?.actions ?? [];
    for (const action of asked) expect(rights).toContain(`sqs:${action}`);
  }, 60_000);

  test("on a server without such tasks is core's own, and is tried once", async () => {
    const { seen, letters, die } = await open("none", `http://127.0.0.1:${emulator.port}`);
    await die(3);
    expect(await letters.redrive()).toEqual({ redriven: 3, kept: 0 });
    await vi.waitFor(() => expect(inOrder(seen)).toEqual(firstAttempts(3)), patience);
    expect(asked).toEqual([]);
  }, 60_000);
});

test("a redrive with a filter leaves the service's task alone", async () => {
  const { letters, die } = await open("none");
  await die(2);
  expect(await letters.redrive({ filter: () => true })).toEqual({ redriven: 2, kept: 0 });
  expect(asked).toEqual([]);
}, 60_000);

test.each(["none", "key"] as const)(
  "a letter that somebody moves in the console starts afresh (ordering: %s)",
  async (ordering) => {
    const { Orders, seen, die } = await open(ordering);
    await die(1);
    const fifo = ordering === "key" ? ".fifo" : "";
    const url = async (name: string) =>
      (await raw.send(new GetQueueUrlCommand({ QueueName: name + fifo }))).QueueUrl ?? "";
    const moved = await moveOne(await url(`${Orders.name}_to-g_dlq`), await url(`${Orders.name}_to-g`));
    expect(JSON.stringify(moved)).toContain("no rates");
    await vi.waitFor(() => expect(seen).toEqual(firstAttempts(1)), patience);
  },
  60_000,
);
