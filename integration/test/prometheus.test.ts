// The dashboard of the example, against a real Prometheus that scrapes the example: every expression of every panel has series.
import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { type Prometheus, startPrometheus } from "../prometheus/index.ts";

const folder = new URL("../../examples/observed-service/", import.meta.url);

interface Target {
  readonly refId: string;
  readonly expr: string;
  readonly datasource: object;
}

interface Panel {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
  readonly targets?: readonly Target[];
}

interface Variable {
  readonly name: string;
  readonly type: string;
}

interface Dashboard {
  readonly schemaVersion: number;
  readonly uid: string;
  readonly panels: readonly Panel[];
  readonly templating: { readonly list: readonly Variable[] };
}

const dashboard = JSON.parse(readFileSync(new URL("grafana/dashboard.json", folder), "utf8")) as Dashboard;
const panels = dashboard.panels.filter(({ type }) => type !== "row");
const expressions = panels.flatMap(({ title, targets = [] }) =>
  targets.map(({ refId, expr }) => [`${title} ${refId}`, expr] as const),
);

/** What Grafana puts in for its variables, with everything selected. */
function filled(expression: string): string {
  return expression.replaceAll("$__rate_interval", "15s").replaceAll("$group", ".+");
}

describe("the dashboard", () => {
  test("has what Grafana wants of every panel, and no two in one place", () => {
    expect(dashboard).toMatchObject({ schemaVersion: 42, uid: expect.stringMatching(/^[\w-]{1,40}$/) });
    const ids = dashboard.panels.map(({ id }) => id);
    expect(new Set(ids).size).toBe(ids.length);
    const cells = dashboard.panels.flatMap(({ gridPos: { x, y, w, h } }) => {
      expect(x + w).toBeLessThanOrEqual(24);
      return Array.from({ length: w * h }, (_, cell) => `${x + (cell % w)},${y + Math.floor(cell / w)}`);
    });
    expect(new Set(cells).size).toBe(cells.length);
    for (const { type, targets = [] } of panels) {
      expect(["stat", "timeseries"]).toContain(type);
      expect(targets.length).toBeGreaterThan(0);
      // Its own variable, so that it can be imported anywhere.
      for (const { datasource } of targets) expect(datasource).toEqual({ type: "prometheus", uid: "${datasource}" });
    }
  });

  test("uses no variable that it does not have", () => {
    const own = dashboard.templating.list.map(({ name }) => name);
    const used = expressions.flatMap(([, text]) => [...text.matchAll(/\$(\w+)/g)].map(([, name = ""]) => name));
    expect(new Set(used)).toEqual(new Set(["__rate_interval", "group"]));
    expect(own).toEqual(["datasource", "group"]);
  });
});

describe("on a real Prometheus", () => {
  let prometheus: Prometheus | undefined;
  let why = "";
  let home = "";
  let service: ChildProcessWithoutNullStreams | undefined;
  const quiet = new AbortController();

  beforeAll(async () => {
    const main = fileURLToPath(new URL("main.ts", folder));
    service = spawn(process.execPath, ["--conditions=@sluice/source", main, "--serve", "0"]);
    home = await listening(service);
    try {
      prometheus = await startPrometheus(new URL(home).host);
    } catch (error) {
      if (process.env["SLUICE_REQUIRE_BROKERS"]?.split(",").some((name) => name.trim() === "all")) throw error;
      why = (error as Error).message;
    }
  });
  afterAll(async () => {
    quiet.abort();
    await prometheus?.stop();
    if (!service || service.exitCode !== null) return;
    service.kill();
    await once(service, "exit");
  });

  test("every expression has series, of numbers, after traffic", { timeout: 120_000 }, async ({ skip }) => {
    const { query, version } = prometheus ?? skip(why);
    process.stdout.write(`Prometheus ${version}\n`);
    const traffic = order(home, quiet.signal);
    onTestFinished(async () => {
      quiet.abort();
      await traffic;
    });
    await until(query, "sum(increase(sluice_consumer_dead_letters_total[30s])) > 0");
    await until(query, "sum(increase(sluice_consumer_duplicates_total[30s])) > 0");
    await until(query, 'sum(increase(messaging_client_sent_messages_total{error_type="INVALID_MESSAGE"}[30s])) > 0');
    const answers = await Promise.all(
      expressions.map(async ([name, text]) => [name, await query(filled(text))] as const),
    );
    const without = answers.filter(([, series]) => !series.some(({ value }) => Number.isFinite(Number(value[1]))));
    expect(without.map(([name]) => name)).toEqual([]);
    // What the variable of the groups offers.
    const groups = await query("group by (messaging_consumer_group_name) (sluice_consumer_in_flight)");
    expect(groups).toHaveLength(7);
  });

  test("every metric of @sluice/otel is on the dashboard", async ({ skip }) => {
    const { query } = prometheus ?? skip(why);
    const series = await query(`count by (__name__) ({otel_scope_name="@sluice/otel"})`);
    const names = series.map(({ metric }) => (metric["__name__"] ?? "").replace(/_(bucket|sum|count)$/, ""));
    const all = expressions.map(([, text]) => text).join("\n");
    expect([...new Set(names)].filter((name) => !all.includes(name))).toEqual([]);
    expect(new Set(names).size).toBe(11);
  });

  test("every alert is an expression that it knows", async ({ skip }) => {
    const { query } = prometheus ?? skip(why);
    const alerts = readFileSync(new URL("alerts.yml", folder), "utf8");
    const rules = [...alerts.matchAll(/expr: (.*)$/gm)].map(([, text = ""]) => text);
    expect(rules).toHaveLength(3);
    // Without the threshold there is something to see.
    for (const rule of rules) expect(await query(rule.replace(/ > \d+$/, ""))).not.toEqual([]);
  });

  test("(an expression that cannot be parsed is an error)", async ({ skip }) => {
    const { query } = prometheus ?? skip(why);
    await expect(query("sum by (")).rejects.toThrow("parse error");
  });
});

async function listening({ stderr }: ChildProcessWithoutNullStreams): Promise<string> {
  let said = "";
  for await (const chunk of stderr) {
    said += String(chunk);
    const [home] = /http:\/\/[\d.]+:\d+/.exec(said) ?? [];
    if (home !== undefined) return home;
  }
  throw new Error(`the service ended and never listened: ${said}`);
}

/** Orders, some twice, some that cannot be published, some to nowhere. */
async function order(home: string, signal: AbortSignal): Promise<void> {
  for (let n = 0; !signal.aborted; n++) {
    const post = (body: object) => fetch(`${home}/orders`, { method: "POST", body: JSON.stringify(body) });
    const id = `${n % 3 === 0 ? "nowhere" : "order"}-${n}`;
    await post({ id, customer: "ada", items: ["kettle"] });
    if (n % 4 === 0) await post({ id, customer: "ada", items: ["kettle"] });
    // Half a surrogate pair: no header can hold it.
    if (n % 5 === 0) await post({ id, customer: "\ud800", items: ["kettle"] });
    await delay(50);
  }
}

/** Prometheus asks once a second: what happened is seen a moment later. */
async function until(query: Prometheus["query"], expression: string): Promise<void> {
  const deadline = Date.now() + 60_000;
  while ((await query(expression)).length === 0) {
    if (Date.now() > deadline) throw new Error(`after 60 s there is nothing in ${expression}`);
    await delay(500);
  }
}
