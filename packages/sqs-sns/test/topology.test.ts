import type { DeclaredTopic, Filter } from "@sluice/core/driver";
import { describe, expect, test } from "vitest";
import { allowTopic, filterPolicy, matches, sameJson } from "../src/policy.ts";
import { sqsSns } from "../src/sqs-sns.ts";

function topic(more: Partial<DeclaredTopic> = {}): DeclaredTopic {
  const billing = { name: "billing", start: "now", retry: true, deadLetter: true } as const;
  return { name: "orders.placed", ordered: false, shards: 8, delays: false, groups: [billing], ...more };
}

describe("topology", () => {
  test("of a group", () => {
    expect(sqsSns().topology({ topics: [topic()] })).toMatchSnapshot();
  });

  test("of an ordered group is FIFO throughout", () => {
    expect(sqsSns().topology({ topics: [topic({ ordered: true })] })).toMatchSnapshot();
  });

  test("delays bring the one waiting place of all topics", () => {
    const topics = [topic({ delays: true }), topic({ name: "other", delays: true })];
    const waiting = sqsSns({ prefix: "shop-" })
      .topology({ topics })
      .filter(({ name }) => name === "shop-sluice_delayed");
    expect(waiting).toHaveLength(1);
    expect(waiting[0]?.shared).toBe(true);
  });

  test("a filter is part of the subscription", () => {
    const group = { name: "eu", start: "now", retry: true, deadLetter: true, filter: { region: "eu" } } as const;
    const [subscription] = sqsSns()
      .topology({ topics: [topic({ groups: [group] })] })
      .filter(({ kind }) => kind === "subscription");
    expect(JSON.parse(String(subscription?.settings["FilterPolicy"]))).toEqual({
      $or: [{ "sluice-headers": [{ exists: true }] }, { region: ["eu"] }],
    });
  });

  test("every resource says what each role may have to do", () => {
    for (const { kind, actions } of sqsSns().topology({ topics: [topic({ delays: true })] })) {
      const all = Object.values(actions ?? {}).flat();
      expect([kind, all.length > 0]).toEqual([kind, true]);
      for (const action of all) expect(action).toMatch(/^(sqs|sns):[A-Z][A-Za-z]+$/);
    }
  });

  test("who sends on what was delayed may send it to where it goes", () => {
    const actions = (ordered: boolean, role: "publish" | "consume") =>
      Object.fromEntries(
        sqsSns()
          .topology({ topics: [topic({ ordered, delays: true })] })
          .filter(({ kind }) => kind !== "subscription")
          .map(({ name, actions: all }) => [name, all?.[role]]),
      );
    expect(actions(false, "consume")["orders_-placed"]).toContain("sns:Publish");
    expect(actions(false, "publish")["orders_-placed_to-billing"]).not.toContain("sqs:SendMessage");
    expect(actions(true, "publish")["orders_-placed_to-billing.fifo"]).toContain("sqs:SendMessage");
    expect(actions(true, "publish")["sluice_delayed"]).toContain("sqs:ReceiveMessage");
  });

  test("who redrives may have the service move the dead letters, and all that its task needs", () => {
    const resources = sqsSns().topology({ topics: [topic()] });
    const consume = (name: string) => resources.find((one) => one.name === name)?.actions?.consume;
    const start = ["sqs:StartMessageMoveTask", "sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"];
    const rest = ["sqs:ListMessageMoveTasks", "sqs:CancelMessageMoveTask"];
    expect(consume("orders_-placed_to-billing_dlq")).toEqual(expect.arrayContaining([...start, ...rest]));
    expect(consume("orders_-placed_to-billing")).toContain("sqs:SendMessage");
  });

  test("a group that only publishes and reads needs no right to make anything", () => {
    const resources = sqsSns().topology({ topics: [topic({ delays: true })] });
    const daily = resources.flatMap(({ actions }) => [...(actions?.publish ?? []), ...(actions?.consume ?? [])]);
    expect(daily.filter((action) => /Create|Set|Subscribe$|Delete(Queue|Topic)$/.test(action))).toEqual([]);
  });
});

describe("queue policies", () => {
  const [queue, arn] = ["arn:aws:sqs:eu-central-1:123456789012:q", "arn:aws:sns:eu-central-1:123456789012:t"];

  test("let one topic in", () => {
    expect(JSON.parse(allowTopic(undefined, queue, arn) ?? "")).toEqual({
      Version: "2012-10-17",
      Statement: [
        {
          Sid: "sluicet",
          Effect: "Allow",
          Principal: { Service: "sns.amazonaws.com" },
          Action: "sqs:SendMessage",
          Resource: queue,
          Condition: { ArnEquals: { "aws:SourceArn": arn } },
        },
      ],
    });
  });

  test("keep what is there, and do not grow", () => {
    const before = { Version: "2008-10-17", Id: "mine", Statement: { Sid: "other", Effect: "Deny", Action: "sqs:*" } };
    const once = allowTopic(JSON.stringify(before), queue, arn);
    const policy = JSON.parse(once ?? "") as { Id: string; Version: string; Statement: unknown[] };
    expect(policy).toMatchObject({ Id: "mine", Version: "2008-10-17" });
    expect(policy.Statement).toHaveLength(2);
    expect(allowTopic(once, queue, arn)).toBeUndefined();
    expect(allowTopic(once, queue, `${arn}2`)).toBeDefined();
  });

  test("know a statement in other words", () => {
    const statement = {
      Effect: "Allow",
      Principal: "*",
      Action: ["SQS:SendMessage"],
      Condition: { ArnLike: { "aws:SourceArn": [arn] } },
    };
    expect(allowTopic(JSON.stringify({ Statement: [statement] }), queue, arn)).toBeUndefined();
  });
});

test("the statement of the console for the account's owner lets no topic in", () => {
  const [queue, arn] = ["arn:aws:sqs:eu-central-1:123456789012:q", "arn:aws:sns:eu-central-1:123456789012:t"];
  const owner = {
    Sid: "__owner_statement",
    Effect: "Allow",
    Principal: { AWS: "arn:aws:iam::123456789012:root" },
    Action: "SQS:*",
    Resource: queue,
  };
  const policy = JSON.parse(allowTopic(JSON.stringify({ Statement: [owner] }), queue, arn) ?? "{}") as object;
  expect(policy).toMatchObject({ Statement: [owner, { Principal: { Service: "sns.amazonaws.com" } }] });
});

describe("filters", () => {
  const filter: Filter = { region: ["eu", "us"], kind: { prefix: "order." } };

  test("match every named header", () => {
    expect(matches(filter, { region: "us", kind: "order.paid" })).toBe(true);
    expect(matches(filter, { region: "us", kind: "refund" })).toBe(false);
    expect(matches(filter, { kind: "order.paid" })).toBe(false);
  });

  test.each<Filter>([{ a: "1", b: "1", c: "1", d: "1", e: "1" }, { a: Array.from({ length: 151 }, (_, n) => `${n}`) }])(
    "beyond what SNS takes are refused %#",
    (wide) => {
      expect(() => filterPolicy(wide)).toThrow(expect.objectContaining({ code: "CONFIG" }));
    },
  );

  test("are the same in any order", () => {
    expect(sameJson('{"a":[1],"b":{"c":1,"d":2}}', '{"b":{"d":2,"c":1},"a":[1]}')).toBe(true);
    expect(sameJson('{"a":[1]}', '{"a":[2]}')).toBe(false);
  });
});
