import { DriverError, type Filter, type Headers } from "@sluice/core/driver";
import { headersName } from "./attributes.ts";

/** What SNS takes in one filter policy. One key of the five is ours. */
const mostKeys = 4;
const mostCombinations = 150;

interface Statement {
  readonly Sid?: string;
  readonly Effect?: string;
  readonly Principal?: unknown;
  readonly Action?: unknown;
  readonly Resource?: unknown;
  readonly Condition?: unknown;
}

interface Policy {
  readonly Version?: string;
  readonly Statement?: Statement | readonly Statement[];
}

/** A queue's policy with the statement that lets a topic send to it; `undefined`: it has that statement already. */
export function allowTopic(current: string | undefined, queueArn: string, topicArn: string): string | undefined {
  const policy = parse(current);
  const statements = [policy.Statement ?? []].flat();
  if (statements.some((statement) => allows(statement, topicArn))) return undefined;
  const statement: Statement = {
    Sid: `sluice-${topicArn.slice(topicArn.lastIndexOf(":") + 1)}`.replace(/[^A-Za-z0-9]/g, "").slice(0, 100),
    Effect: "Allow",
    Principal: { Service: "sns.amazonaws.com" },
    Action: "sqs:SendMessage",
    Resource: queueArn,
    Condition: { ArnEquals: { "aws:SourceArn": topicArn } },
  };
  return JSON.stringify({ ...policy, Version: policy.Version ?? "2012-10-17", Statement: [...statements, statement] });
}

/** n.b. Without it SNS drops every message for the queue, and neither side is told. */
function allows({ Effect, Principal, Action, Condition }: Statement, topicArn: string): boolean {
  // The console gives each new queue a statement for the account's owner, which lets no topic in.
  if (!/"(?:\*|sns\.amazonaws\.com)"/.test(JSON.stringify(Principal ?? ""))) return false;
  if (Effect !== "Allow" || !JSON.stringify(Action ?? "").match(/sqs:(SendMessage|\*)|"\*"/i)) return false;
  return Condition === undefined || JSON.stringify(Condition).includes(JSON.stringify(topicArn));
}

function parse(text: string | undefined): Policy {
  if (text === undefined || text === "") return {};
  try {
    return (JSON.parse(text) as Policy | null) ?? {};
  } catch {
    return {};
  }
}

/**
 * A filter in SNS's words. Headers that shared an attribute cannot be seen there: such messages pass, and the reader looks itself.
 * @throws DriverError CONFIG for more than SNS takes
 */
export function filterPolicy(filter: Filter): string {
  const entries = Object.entries(filter);
  const wanted: Record<string, unknown> = {};
  let combinations = 1;
  for (const [name, value] of entries) {
    const values = typeof value === "string" ? [value] : "prefix" in value ? [{ prefix: value.prefix }] : value;
    wanted[name] = values;
    combinations *= values.length;
  }
  if (entries.length > mostKeys || combinations > mostCombinations) {
    const numbers = `${entries.length} headers with ${combinations} combinations`;
    throw new DriverError(
      "CONFIG",
      `sqs-sns: a filter has ${numbers}; ${mostKeys} headers and ${mostCombinations} combinations are the most, filter the rest in the handler`,
    );
  }
  return JSON.stringify({ $or: [{ [headersName]: [{ exists: true }] }, wanted] });
}

/** Whether every header that the filter names has one of its values, or begins with its prefix. */
export function matches(filter: Filter, headers: Headers): boolean {
  for (const [name, wanted] of Object.entries(filter)) {
    const value = headers[name];
    if (value === undefined) return false;
    if (typeof wanted === "string") {
      if (value !== wanted) return false;
    } else if ("prefix" in wanted) {
      if (!value.startsWith(wanted.prefix)) return false;
    } else if (!wanted.includes(value)) return false;
  }
  return true;
}

/** The same settings, whatever the order of their members. */
export function sameJson(one: string | undefined, other: string | undefined): boolean {
  return JSON.stringify(sorted(one)) === JSON.stringify(sorted(other));
}

function sorted(text: string | undefined): unknown {
  if (text === undefined || text === "") return undefined;
  try {
    return JSON.parse(text, (_, value: unknown) => {
      if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
      return Object.fromEntries(Object.entries(value).sort(([left], [right]) => (left < right ? -1 : 1)));
    });
  } catch {
    return text;
  }
}
