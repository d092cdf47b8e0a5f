import {
  CancelMessageMoveTaskCommand,
  ListMessageMoveTasksCommand,
  type ListMessageMoveTasksResultEntry as Task,
  type SQSClient,
  StartMessageMoveTaskCommand,
} from "@aws-sdk/client-sqs";
import { simulation } from "@sluice/memory";
import { describe, expect, test } from "vitest";
import type { Clients } from "../src/clients.ts";
import { MoveBack } from "../src/move-back.ts";

const source = { topic: "orders", group: "g", deadLetter: true } as const;
const to = "arn:aws:sqs:x:1:orders_to-g";
const never = new AbortController().signal;

function named(name: string, message = ""): Error {
  return Object.assign(new Error(message), { name, $metadata: { httpStatusCode: 400 } });
}

/** A queue of dead letters as the service lists its tasks. */
function open({ fifo = false, begins = "RUNNING" }: { readonly fifo?: boolean; readonly begins?: string } = {}) {
  const world = simulation();
  const asked: unknown[] = [];
  const tasks: (Task & { Status: string })[] = [];
  /** With what the next calls end instead. */
  const failing = new Map<string, Error>();
  const send = async (command: unknown) => {
    const { name } = (command as object).constructor;
    asked.push(name.replace("Command", ""));
    const failure = failing.get(name);
    if (failure) throw failure;
    if (command instanceof ListMessageMoveTasksCommand) return { Results: tasks.map((task) => ({ ...task })) };
    if (command instanceof StartMessageMoveTaskCommand) {
      const { DestinationArn, SourceArn } = command.input;
      const StartedTimestamp = world.now();
      tasks.unshift({ TaskHandle: "ours", Status: begins, DestinationArn, SourceArn, StartedTimestamp });
      return { TaskHandle: "ours" };
    }
    if (command instanceof CancelMessageMoveTaskCommand) return { ApproximateNumberOfMessagesMoved: 7 };
    throw new Error(`${name} is not faked`);
  };
  const sqs = { send } as unknown as SQSClient; // only `send` is called
  const suffix = fifo ? ".fifo" : "";
  const queue = async (name: string) => ({ name, url: `http://sqs/${name}`, fifo: name.endsWith(".fifo") });
  const moves = new MoveBack({
    clients: { calls: { sqs } as unknown as Clients["calls"] },
    runtime: world.runtime,
    names: { queue: (topic, group, ordered) => `${topic}_to-${group}${ordered ? ".fifo" : ""}` },
    directory: {
      groupQueue: () => queue(`orders_to-g_dlq${suffix}`),
      queue,
      queueArn: async (name) => `arn:aws:sqs:x:1:${name}`,
      forgetQueue: () => {},
    },
  });
  return { world, moves, tasks, asked, failing };
}

function end(task: Task | undefined, Status: string, more: Partial<Task> = {}): void {
  Object.assign(task ?? {}, { Status, TaskHandle: undefined, ...more });
}

describe("moving dead letters back", () => {
  test.each([false, true])(
    "goes to the group's own queue, and resolves when they are there (FIFO: %s)",
    async (fifo) => {
      const { world, moves, tasks } = open({ fifo });
      tasks.push({ Status: "COMPLETED", StartedTimestamp: 1, ApproximateNumberOfMessagesMoved: 99 });
      const moving = moves.run(source, never);
      await world.advance(60_000);
      expect(tasks[0]).toMatchObject({ DestinationArn: to + (fifo ? ".fifo" : "") });
      expect(tasks[0]?.SourceArn).toBe(`${to}_dlq${fifo ? ".fifo" : ""}`);
      end(tasks[0], "COMPLETED", { ApproximateNumberOfMessagesMoved: 30 });
      expect(await world.run(moving, 5_000)).toBe(30);
    },
  );

  test("that ended before anybody looked is told from older ones", async () => {
    const { world, moves, tasks } = open({ begins: "COMPLETED" });
    tasks.push({ Status: "FAILED", StartedTimestamp: 1, FailureReason: "AccessDenied" });
    expect(await world.run(moves.run(source, never))).toBe(0);
  });

  test("asks less often the longer it takes", async () => {
    const { world, moves, asked } = open();
    const moving = moves.run(source, never);
    moving.catch(() => {});
    await world.advance(600_000);
    expect(asked.length).toBeGreaterThan(110);
    expect(asked.length).toBeLessThan(130);
    await world.run(moves.close(never));
    await expect(moving).rejects.toMatchObject({ code: "ABORTED" });
  });

  test.each([
    ["AccessDenied", "FORBIDDEN"],
    ["AWS.SimpleQueueService.NonExistentQueue", "NOT_FOUND"],
    ["SomethingNew", "UNKNOWN"],
  ])("that fails (%s) is %s, and says what became of the letters", async (FailureReason, code) => {
    const { world, moves, tasks } = open();
    const moving = moves.run(source, never);
    await world.advance(1_000);
    end(tasks[0], "FAILED", { FailureReason, ApproximateNumberOfMessagesMoved: 12 });
    const error: unknown = await world.run(moving.catch((reason: unknown) => reason));
    expect(error).toMatchObject({ code });
    expect(String(error)).toMatch(new RegExp(`${FailureReason}.*12 of them.*still a dead letter`));
  });

  test("that somebody cancels says so", async () => {
    const { world, moves, tasks } = open();
    const moving = moves.run(source, never);
    await world.advance(1_000);
    end(tasks[0], "CANCELLED", { ApproximateNumberOfMessagesMoved: 3 });
    await expect(world.run(moving)).rejects.toThrow(/somebody cancelled the task after about 3/);
  });

  test("ends with its signal, and so does the task", async () => {
    const { world, moves, asked } = open();
    const caller = new AbortController();
    const moving = moves.run(source, caller.signal);
    moving.catch(() => {});
    await world.advance(1_000);
    caller.abort();
    const error: unknown = await world.run(moving.catch((reason: unknown) => reason));
    expect(error).toMatchObject({ code: "ABORTED", message: expect.stringContaining("about 7 were moved") });
    expect(asked.at(-1)).toBe("CancelMessageMoveTask");
  });

  test("waits for somebody else's task to the same queue, and leaves it alone", async () => {
    const { world, moves, tasks, asked } = open();
    tasks.push({ Status: "RUNNING", TaskHandle: "theirs", StartedTimestamp: 1, DestinationArn: to });
    const caller = new AbortController();
    const given = moves.run(source, caller.signal).catch((reason: unknown) => reason);
    const moving = moves.run(source, never);
    await world.advance(1_000);
    caller.abort();
    expect(await world.run(given)).toMatchObject({ code: "ABORTED" });
    end(tasks[0], "COMPLETED", { ApproximateNumberOfMessagesMoved: 5 });
    expect(await world.run(moving)).toBe(5);
    expect(new Set(asked)).toEqual(new Set(["ListMessageMoveTasks"]));
  });

  test.each([["arn:aws:sqs:x:1:elsewhere"], [undefined]])(
    "is BUSY while a task moves them to %s",
    async (DestinationArn) => {
      const { world, moves, tasks } = open();
      tasks.push({ Status: "RUNNING", TaskHandle: "theirs", StartedTimestamp: 1, DestinationArn });
      await expect(world.run(moves.run(source, never))).rejects.toMatchObject({ code: "BUSY" });
    },
  );

  test("begins when the last one has ended", async () => {
    const { world, moves, tasks, failing } = open();
    failing.set("StartMessageMoveTaskCommand", named("InvalidParameterValue", "There is already a task running."));
    const moving = moves.run(source, never);
    await world.advance(1_000);
    failing.clear();
    await world.until(() => tasks.length > 0);
    end(tasks[0], "COMPLETED", { ApproximateNumberOfMessagesMoved: 1 });
    expect(await world.run(moving)).toBe(1);
  });

  test("that the service does not list ends all the same", async () => {
    const { world, moves, tasks } = open();
    const moving = moves.run(source, never);
    moving.catch(() => {});
    await world.settle();
    tasks.length = 0;
    await expect(world.run(moving)).rejects.toThrow(/does not list it; it may go on/);
  });

  test("outlives a moment's fault of the service", async () => {
    const { world, moves, tasks, failing } = open();
    const moving = moves.run(source, never);
    await world.settle();
    failing.set("ListMessageMoveTasksCommand", named("ServiceUnavailable"));
    await world.advance(10_000);
    failing.clear();
    end(tasks[0], "COMPLETED", { ApproximateNumberOfMessagesMoved: 2 });
    expect(await world.run(moving)).toBe(2);
  });
});

describe("a server", () => {
  const html = Object.assign(new SyntaxError("Unexpected token '<'"), { $metadata: { httpStatusCode: 500 } });

  test.each([
    ["fauxqs", named("InvalidAction", "Unknown action: ListMessageMoveTasks")],
    ["moto", html],
    ["another one", named("UnknownOperationException")],
  ])("without such tasks (%s) is asked once", async (_, error) => {
    const { world, moves, asked, failing } = open();
    failing.set("ListMessageMoveTasksCommand", error);
    for (let times = 0; times < 3; times++) expect(await world.run(moves.run(source, never))).toBeUndefined();
    expect(asked).toEqual(["ListMessageMoveTasks"]);
  });

  test("that does not know the queue as one of dead letters is asked again the next time", async () => {
    const { world, moves, asked, failing } = open();
    const reason = "Source queue must be configured as a Dead Letter Queue.";
    failing.set("StartMessageMoveTaskCommand", named("InvalidParameterValue", reason));
    for (let times = 0; times < 2; times++) expect(await world.run(moves.run(source, never))).toBeUndefined();
    expect(asked.filter((name) => name === "StartMessageMoveTask")).toHaveLength(2);
  });

  test("that fails is not taken for one without: nothing was moved, and the caller hears of it", async () => {
    const { world, moves, failing } = open();
    failing.set("ListMessageMoveTasksCommand", named("ServiceUnavailable"));
    await expect(world.run(moves.run(source, never))).rejects.toMatchObject({ code: "UNAVAILABLE" });
  });

  test.each(["Start", "List"])("that forbids it: FORBIDDEN names the right (%s)", async (what) => {
    const { world, moves, failing } = open();
    const action = what === "Start" ? "StartMessageMoveTask" : "ListMessageMoveTasks";
    failing.set(`${action}Command`, named("AccessDeniedException"));
    const error: unknown = await world.run(moves.run(source, never).catch((reason: unknown) => reason));
    expect(error).toMatchObject({ code: "FORBIDDEN", message: expect.stringContaining(`sqs:${action}`) });
  });
});
