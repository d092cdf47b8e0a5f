// The demo as a user runs it: a process of its own, on the embedded broker.
import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { expect, onTestFinished, test } from "vitest";
import type { Account } from "../../examples/order-service/account.ts";

const main = fileURLToPath(new URL("../../examples/order-service/main.ts", import.meta.url));

interface Demo {
  readonly child: ChildProcessWithoutNullStreams;
  readonly output: Promise<string>;
  /** Resolves with the exit code. */
  readonly exit: Promise<number | null>;
}

function demo(...options: string[]): Demo {
  const child = spawn(process.execPath, ["--conditions=@sluice/source", main, ...options]);
  onTestFinished(() => void child.kill("SIGKILL"));
  const exit = once(child, "exit").then(([code]: (number | null)[]) => code ?? null);
  return { child, output: text(child.stdout), exit };
}

/** Resolves when what the demo says on standard error matches, with the match. */
function says({ child }: Demo, pattern: RegExp): Promise<RegExpExecArray> {
  let said = "";
  return new Promise((resolve, reject) => {
    child.stderr.setEncoding("utf8");
    child.stderr.on("data", (more: string) => {
      said += more;
      const match = pattern.exec(said);
      if (match) resolve(match);
    });
    child.once("close", () => reject(new Error(`the demo ended and never said ${pattern}: ${said}`)));
  });
}

async function accountOf(running: Demo): Promise<Account> {
  return JSON.parse(await running.output) as Account;
}

function group(account: Account, name: string): Account["groups"][number] {
  const found = account.groups.find((each) => each.group === name);
  if (!found) throw new Error(`the account has no group ${name}`);
  return found;
}

test("the account of a whole run adds up", async () => {
  const running = demo("--messages", "120", "--rate", "0", "--json");
  const account = await accountOf(running);
  expect(await running.exit).toBe(0);
  expect(account).toMatchObject({ stoppedBy: null, lost: 0, duplicates: 0, problems: [], broadcast: { seen: 114 } });
  expect(account.orders).toMatchObject({ read: 120, published: 116 });
  expect(Object.values(account.orders.refused)).toEqual([2, 2]);
  expect(group(account, "billing")).toMatchObject({
    published: 116,
    handled: 112,
    retried: { inPlace: 16, ownEntry: 0 },
    deadLettered: { exhausted: 4, invalid: 2, permanent: 2 },
    redriven: 4,
    deadLetters: { invalid: 2, permanent: 2 },
    outOfOrder: 0,
  });
  expect(group(account, "shipping")).toMatchObject({
    published: 116,
    handled: 114,
    retried: { inPlace: 4 },
    deferred: 2,
    deadLetters: { invalid: 2 },
    outOfOrder: 0,
  });
  const mailer = group(account, "mailer");
  expect(mailer).toMatchObject({
    published: 114,
    handled: 112,
    dropped: { "the customer wants no mail": 2 },
    redriven: 2,
  });
  expect(mailer).toMatchObject({ deadLettered: { exhausted: 2 }, deadLetters: {} });
  expect(mailer.retried.inPlace + mailer.retried.ownEntry).toBe(10);
});

test("ends with a picture of the flow", async () => {
  const running = demo("--messages", "60", "--rate", "0");
  const output = await running.output;
  expect(await running.exit).toBe(0);
  expect(output).toContain("▼ 58 confirmed by the broker");
  expect(output).toContain("─ group billing ─");
  expect(output).toContain("The account adds up: lost 0, duplicates 0.");
});

test("reads orders from standard input", async () => {
  const running = demo("--input", "-", "--json");
  const order = { orderId: "o-1", customerId: "c-1", email: "ada@mail.example", item: "lamp", quantity: 1, total: 9 };
  running.child.stdin.end(`${JSON.stringify({ ...order, payment: "card", destination: "Porto" })}\n\nno order\n`);
  const account = await accountOf(running);
  expect(await running.exit).toBe(0);
  expect(account.orders).toEqual({ read: 2, published: 1, refused: { "the line is not JSON": 1 } });
  expect(account.groups.map(({ handled }) => handled)).toEqual([1, 1, 1]);
});

test("takes orders by HTTP, answers for each, and says that it is alive", async () => {
  const running = demo("--listen", "0", "--json");
  const url = (await says(running, /listening on (http:\S+);/))[1] ?? "";
  const order = { orderId: "o-1", customerId: "c-1", email: "ada@mail.example", item: "lamp", quantity: 1, total: 9 };
  const whole = { ...order, payment: "card", destination: "Porto" };
  const post = (body: unknown, path = "/orders"): Promise<Response> =>
    fetch(url + path, { method: "POST", body: typeof body === "string" ? body : JSON.stringify(body) });

  const accepted = await post(whole);
  expect(accepted.status).toBe(202);
  expect(await accepted.json()).toEqual({ id: expect.stringMatching(/-00000001$/) as string });
  const refused = await post({ ...whole, quantity: 0 });
  expect(refused.status).toBe(400);
  expect(await refused.json()).toMatchObject({ error: "INVALID_PAYLOAD", issues: [{ path: "quantity" }] });
  expect((await post("{")).status).toBe(400);
  expect((await post(`"${"x".repeat(70_000)}"`)).status).toBe(413);
  expect((await post(whole, "/elsewhere")).status).toBe(404);
  expect((await fetch(`${url}/orders`)).status).toBe(405);
  const [alive, ready] = await Promise.all([fetch(`${url}/livez`), fetch(`${url}/readyz`)]);
  expect([alive.status, ready.status]).toEqual([200, 200]);
  expect(await ready.json()).toMatchObject({ status: "up", driver: "memory" });

  running.child.kill("SIGTERM");
  const account = await accountOf(running);
  expect(await running.exit).toBe(0);
  expect(account).toMatchObject({ stoppedBy: "SIGTERM", lost: 0, problems: [], orders: { read: 4, published: 1 } });
  expect(account.groups.map(({ handled }) => handled)).toEqual([1, 1, 1]);
});

test.each(["SIGINT", "SIGTERM"] as const)("%s ends the reading, and the account still adds up", async (signal) => {
  const running = demo("--messages", "100000", "--json");
  await says(running, /published [1-9]/);
  running.child.kill(signal);
  const account = await accountOf(running);
  expect(await running.exit).toBe(0);
  expect(account).toMatchObject({ stoppedBy: signal, lost: 0, problems: [] });
  expect(account.orders.published).toBeGreaterThan(0);
  expect(account.orders.read).toBeLessThan(100_000);
  expect(group(account, "billing").handled).toBeGreaterThan(0);
});

test("a signal while it waits for standard input ends it", async () => {
  const running = demo("--input", "-", "--json");
  await says(running, /published 0/);
  running.child.kill("SIGINT");
  expect(await accountOf(running)).toMatchObject({ stoppedBy: "SIGINT", lost: 0, orders: { read: 0 } });
  expect(await running.exit).toBe(0);
});

test("a second signal ends it at once", async () => {
  const running = demo("--rate", "0", "--messages", "5000");
  await says(running, /published [1-9]/);
  running.child.kill("SIGINT");
  await says(running, /SIGINT: waiting/);
  running.child.kill("SIGINT");
  expect(await running.exit).toBe(130);
});

test.each([
  [
    ["--broker", "pigeon"],
    /--broker is "pigeon"; give one of memory, kafka, rabbitmq, redis, sqs-sns, google-pubsub, all/,
  ],
  [["--broker", "all", "--input", "-"], /--broker all reads the orders once for each broker/],
  [["--messages", "0"], /--messages is "0"; give a whole number, 1 or more/],
  [["--fast"], /--fast/],
])("wrong options end with 2: %s", async (options, message) => {
  const running = demo(...options);
  await says(running, message);
  expect(await running.exit).toBe(2);
});
