import {
  CancelMessageMoveTaskCommand,
  ListMessageMoveTasksCommand,
  type ListMessageMoveTasksResultEntry as Task,
  StartMessageMoveTaskCommand,
} from "@aws-sdk/client-sqs";
import { type DeadLetterSource, DriverError, type Runtime, sleep } from "@sluice/core/driver";
import { call, timed, untilAborted } from "./call.ts";
import type { Clients } from "./clients.ts";
import type { Directory, FoundQueue } from "./directory.ts";
import { translate, translateEntry } from "./errors.ts";
import type { Names } from "./names.ts";

export interface MoveBackParts {
  readonly clients: Pick<Clients, "calls">;
  readonly directory: Pick<Directory, "groupQueue" | "queue" | "queueArn" | "forgetQueue">;
  readonly names: Pick<Names, "queue">;
  readonly runtime: Runtime;
}

interface Route {
  readonly deadLetters: FoundQueue;
  readonly own: FoundQueue;
  readonly from: string;
  readonly to: string;
}

/** Waits between two looks at a task. */
const firstMs = 200;
const mostMs = 5_000;
/** Looks in a row that fail, or do not show the task, before it is given up. */
const patience = 12;
/** Bound of what no signal ends. */
const lastWordMs = 5_000;

/** Has SQS move dead letters back to their group by itself: one of its tasks for all of them. */
export class MoveBack {
  readonly #parts: MoveBackParts;
  readonly #ended = new AbortController();
  readonly #running = new Set<Promise<unknown>>();
  /** The stand-ins have no such tasks. */
  #lacking = false;

  constructor(parts: MoveBackParts) {
    this.#parts = parts;
  }

  /** Resolves with about how many; `undefined`: this server does not do it, and nothing was moved. */
  run(source: DeadLetterSource, signal: AbortSignal): Promise<number | undefined> {
    if (this.#lacking) return Promise.resolve(undefined);
    const running = this.#run(source, AbortSignal.any([signal, this.#ended.signal]));
    this.#running.add(running);
    const end = () => this.#running.delete(running);
    running.then(end, end);
    return running;
  }

  /** Tasks of ours are cancelled. */
  close(signal: AbortSignal): Promise<void> {
    this.#ended.abort();
    return untilAborted(signal, Promise.allSettled(this.#running));
  }

  async #run({ topic, group }: DeadLetterSource, signal: AbortSignal): Promise<number | undefined> {
    const { directory, names } = this.#parts;
    const deadLetters = await directory.groupQueue(topic, group, true);
    // Both are FIFO, or none.
    const own = await directory.queue(names.queue(topic, group, deadLetters.fifo));
    const [from, to] = await Promise.all([directory.queueArn(deadLetters.name), directory.queueArn(own.name)]);
    try {
      return await this.#move({ deadLetters, own, from, to }, signal);
    } catch (error) {
      const gone = error instanceof DriverError && error.code === "NOT_FOUND";
      if (gone) for (const { name } of [deadLetters, own]) directory.forgetQueue(name);
      throw error;
    }
  }

  async #move(route: Route, signal: AbortSignal): Promise<number | undefined> {
    for (let tries = 1; ; tries++) {
      const before = await this.#look(route, signal);
      if (!before) return undefined;
      const running = before.find(({ Status }) => Status === "RUNNING");
      if (running) return this.#join(route, running, signal);
      if (!before.some(({ Status }) => Status === "CANCELLING")) {
        const begun = await this.#start(route, signal);
        if (begun === "refused") return undefined;
        if (begun !== "busy") return this.#follow(route, ours(begun.handle, before), signal, begun.handle);
      }
      // n.b. A queue has one task at a time: the last one is still about to end, or somebody was faster.
      if (tries === patience) throw busy(route, "one that does not end");
      await sleep(this.#parts.runtime, pause(tries), signal);
      if (signal.aborted) throw aborted(route, "nothing was moved");
    }
  }

  /** Somebody else has them moved already: what we would do. Our signal ends the wait, not their task. */
  #join(route: Route, { DestinationArn, StartedTimestamp }: Task, signal: AbortSignal): Promise<number> {
    if (DestinationArn !== route.to) throw busy(route, `one to ${DestinationArn ?? "the queues that they came from"}`);
    const same = (tasks: readonly Task[]) => tasks.find((task) => task.StartedTimestamp === StartedTimestamp);
    return this.#follow(route, same, signal, undefined);
  }

  /** n.b. Not cut off by the signal: nobody would know whether it runs now, nor have the handle with which it is cancelled. */
  async #start(route: Route, signal: AbortSignal): Promise<{ readonly handle: string } | "refused" | "busy"> {
    const { clients, runtime } = this.#parts;
    const doing = `cannot start to ${words(route)} (sqs:StartMessageMoveTask)`;
    if (signal.aborted) throw aborted(route, "nothing was moved");
    try {
      // n.b. Without a destination it fails: ours were sent to the dead letters, so the service does not know where they came from.
      const command = new StartMessageMoveTaskCommand({ SourceArn: route.from, DestinationArn: route.to });
      const { TaskHandle = "" } = await timed({ runtime, doing, ms: lastWordMs }, (options) =>
        clients.calls.sqs.send(command, options),
      );
      return { handle: TaskHandle };
    } catch (error) {
      if (saysThat(error, /already a task running/i)) return "busy";
      if (isNoDeadLetterQueue(error)) return "refused";
      throw translate(error, doing);
    }
  }

  async #follow(
    route: Route,
    find: (tasks: readonly Task[]) => Task | undefined,
    signal: AbortSignal,
    handle: string | undefined,
  ): Promise<number> {
    let failures = 0;
    for (let looks = 1; ; looks++) {
      await sleep(this.#parts.runtime, pause(looks), signal);
      if (signal.aborted) throw await this.#cancelled(route, handle);
      const seen = await this.#look(route, signal).catch((error: unknown) => translate(error, words(route)));
      if (signal.aborted) throw await this.#cancelled(route, handle);
      const failed = seen instanceof DriverError;
      const task = failed ? undefined : find(seen ?? []);
      if (task && isOver(task)) return moved(route, task);
      failures = task ? 0 : failures + 1;
      if (failed && (!seen.retryable || failures === patience)) throw seen;
      if (failures === patience) throw unlisted(route);
    }
  }

  /** The latest tasks of this queue, the newest first; `undefined`: this server knows of none. */
  async #look(route: Route, signal: AbortSignal): Promise<readonly Task[] | undefined> {
    const { clients, runtime } = this.#parts;
    const doing = `cannot look whether it is under way to ${words(route)} (sqs:ListMessageMoveTasks)`;
    try {
      const command = new ListMessageMoveTasksCommand({ SourceArn: route.from, MaxResults: 10 });
      const { Results = [] } = await timed({ runtime, doing, signal }, (options) =>
        clients.calls.sqs.send(command, options),
      );
      return Results;
    } catch (error) {
      if (isNoDeadLetterQueue(error)) return undefined;
      if (!isUnknownCall(error)) throw translate(error, doing);
      this.#lacking = true;
      return undefined;
    }
  }

  async #cancelled(route: Route, handle: string | undefined): Promise<DriverError> {
    if (handle === undefined) return aborted(route, "the task that somebody else started goes on");
    const { clients, runtime } = this.#parts;
    const doing = `cannot cancel the task that is to ${words(route)} (sqs:CancelMessageMoveTask)`;
    try {
      const { ApproximateNumberOfMessagesMoved: count = 0 } = await call(
        { runtime, doing, ms: lastWordMs },
        (options) => clients.calls.sqs.send(new CancelMessageMoveTaskCommand({ TaskHandle: handle }), options),
      );
      return aborted(route, `about ${count} were moved, the others are still dead letters`);
    } catch (error) {
      return aborted(route, `its task is over, or goes on: ${translate(error, doing).message}`, error);
    }
  }
}

/** Ours is the one with our handle; one that is over has no handle any more, but was not there before. */
function ours(handle: string, before: readonly Task[]): (tasks: readonly Task[]) => Task | undefined {
  const old = new Set(before.map(({ StartedTimestamp }) => StartedTimestamp));
  return (tasks) =>
    tasks.find(({ TaskHandle }) => TaskHandle === handle) ??
    tasks.findLast(({ StartedTimestamp }) => !old.has(StartedTimestamp));
}

function isOver({ Status = "" }: Task): boolean {
  return !["", "RUNNING", "CANCELLING"].includes(Status);
}

function moved(route: Route, { Status, FailureReason, ApproximateNumberOfMessagesMoved: count = 0 }: Task): number {
  if (Status === "COMPLETED") return count;
  const after = `after about ${count} of them; what was not moved is still a dead letter`;
  const Code = FailureReason ?? Status ?? "";
  const Message = Status === "CANCELLED" ? `somebody cancelled the task ${after}` : `the task failed ${after}`;
  throw translateEntry({ Code, Message }, `cannot ${words(route)}`);
}

function pause(count: number): number {
  return Math.min(firstMs * 2 ** (count - 1), mostMs);
}

function words({ deadLetters, own }: Route): string {
  return `move the dead letters of queue "${deadLetters.name}" back to "${own.name}"`;
}

function busy(route: Route, what: string): DriverError {
  const text = `sqs-sns: cannot ${words(route)}: the queue has a task already, ${what}; wait for it, or cancel it`;
  return new DriverError("BUSY", text);
}

function unlisted(route: Route): DriverError {
  const text = `sqs-sns: cannot see the task that is to ${words(route)}: the service does not list it; it may go on`;
  return new DriverError("UNKNOWN", text);
}

function aborted(route: Route, what: string, cause?: unknown): DriverError {
  return new DriverError("ABORTED", `sqs-sns: cannot ${words(route)}: aborted; ${what}`, { cause });
}

function saysThat(error: unknown, pattern: RegExp): boolean {
  return error instanceof Error && pattern.test(error.message);
}

/** Somebody took the redrive policy away. */
function isNoDeadLetterQueue(error: unknown): boolean {
  return saysThat(error, /must be configured as a dead letter queue/i);
}

/** n.b. Only of a look, which changes nothing. moto answers a page of HTML with status 500. */
function isUnknownCall(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const { $metadata } = error as Error & { readonly $metadata?: { readonly httpStatusCode?: number } };
  const status = $metadata?.httpStatusCode;
  if (/(InvalidAction|UnknownOperation|UnsupportedOperation|NotImplemented)(Exception)?$/.test(error.name)) return true;
  return status === 501 || ((status === 404 || status === 500) && /^(SyntaxError|Unknown(Error)?)$/.test(error.name));
}
