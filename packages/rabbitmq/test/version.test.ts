import { connect } from "@sluice/core";
import { expect, onTestFinished, test } from "vitest";
import { rabbitmq } from "../src/rabbitmq.ts";
import { greetingServer } from "./support/greeting-server.ts";

test("a server that is too old is refused, naming its version and the one that is needed", async () => {
  const server = await greetingServer("3.9.29");
  onTestFinished(() => server.close());
  await expect(connect(rabbitmq({ url: server.url }))).rejects.toMatchObject({
    code: "UNSUPPORTED",
    message: expect.stringMatching(/RabbitMQ 3\.9\.29.*3\.10 or newer/),
  });
  await expect.poll(() => server.open()).toBe(0);
});

test.each(["3.10.0", "4.3.1"])("%s is let in", async (version) => {
  const server = await greetingServer(version);
  onTestFinished(() => server.close());
  const bus = await connect(rabbitmq({ url: server.url }));
  expect(bus.server).toBe(`RabbitMQ ${version}`);
  await bus.close();
});
