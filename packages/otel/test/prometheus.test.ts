// What Prometheus gets, in its own words: the names that dashboards and alerts are written with.
import { metrics } from "@opentelemetry/api";
import { PrometheusExporter, PrometheusSerializer } from "@opentelemetry/exporter-prometheus";
import { MeterProvider } from "@opentelemetry/sdk-metrics";
import { expect, test } from "vitest";
import { bench, Orders } from "./support/bench.ts";

const exporter = new PrometheusExporter({ preventServerStart: true });
metrics.setGlobalMeterProvider(new MeterProvider({ readers: [exporter] }));

async function lines(): Promise<readonly string[]> {
  const { resourceMetrics } = await exporter.collect();
  const serializer = new PrometheusSerializer("", false, undefined, true, true);
  return serializer.serialize(resourceMetrics).split("\n");
}

test("golden lines", async () => {
  const { bus, clock } = await bench();
  await clock.run(bus.subscribe(Orders, { group: "billing" }, () => undefined));
  for (let n = 0; n < 3; n++) await clock.run(bus.publish(Orders, { orderId: `o-${n}` }));
  const text = await lines();
  const sent =
    'messaging_system_name="sluice.memory",messaging_operation_name="send",messaging_destination_name="orders"';
  const handled = sent.replace('"send"', '"process"').concat(',messaging_consumer_group_name="billing"');
  const type = 'messaging_operation_type="send"';
  expect(text).toContain(`messaging_client_sent_messages_total{${sent}} 3`);
  expect(text).toContain(`messaging_client_operation_duration_bucket{${sent},${type},le="0.005"} 3`);
  expect(text).toContain(`messaging_client_consumed_messages_total{${handled}} 3`);
  expect(text).toContain(`messaging_process_duration_count{${handled}} 3`);
  expect(text).toContain(`messaging_process_duration_bucket{${handled},le="0.005"} 3`);
  expect(text).toContain(`sluice_consumer_in_flight{${handled}} 0`);
  expect(text).toContain(`sluice_consumer_backlog{${handled},sluice_backlog_state="ready"} 0`);
  expect(text).toContain(`sluice_consumer_retries_total{${handled}} 0`);
  expect(text).toContain(`sluice_consumer_dead_letters_total{${handled},sluice_dead_letter_reason="exhausted"} 0`);
  expect(text).toContain(`sluice_consumer_lost_total{${handled}} 0`);
  expect(text).toContain(`sluice_consumer_duplicates_total{${handled}} 0`);
  await clock.run(bus.close());
});

test("no more series than `most` names allow, and no backlog of what has none", async () => {
  const { bus, clock } = await bench({ most: 3 });
  for (let n = 0; n < 20; n++) await clock.run(bus.subscribe(Orders, { group: `worker-${n}` }, () => undefined));
  await clock.run(bus.publish(Orders, { orderId: "o-1" }));
  const text = await lines();
  const consumed = text.filter((line) => /^messaging_client_consumed_messages_total.*worker-/.test(line));
  expect(consumed.length).toBeLessThanOrEqual(3);
  const nameless = 'messaging_system_name="sluice.memory",messaging_operation_name="process"';
  expect(text).toContain(`messaging_client_consumed_messages_total{${nameless}} ${20 - consumed.length}`);
  const waiting = text.filter((line) => line.startsWith("sluice_consumer_backlog{"));
  expect(waiting.filter((line) => !line.includes("messaging_destination_name"))).toEqual([]);
  await clock.run(bus.close());
});
