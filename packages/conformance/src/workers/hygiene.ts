import { type Bus, connect, topic, type Topic } from "@sluice/core";
import { pause } from "../clock.ts";
import { readable, stated } from "../flow.ts";
import type { WorkerParts } from "./index.ts";

/** Opens, uses and closes a bus, and says what the process still holds afterwards. */
export async function hygieneWorker({ harness, ledger, options }: WorkerParts): Promise<void> {
  const step = String(options["step"]);
  await pause(20);
  // n.b. They are opened when they are first looked at, which Node itself does for every `pipe` of a stream.
  const standard = [process.stdout, process.stderr].length;
  const before = standard > 0 ? process.getActiveResourcesInfo() : [];
  const bus = await connect(harness.driver(), { clientName: ledger.process });
  const declared = topic<{ readonly n: number }>(String(options["topic"]), {
    shards: 1,
    groups: bus.capabilities.group === "absent" ? [] : ["g"],
    unrouted: "allow",
  });
  await use(step, bus, declared);
  await bus.close();
  // Sockets and timers leave the list a few turns after they were ended.
  let left = remaining(before);
  for (let turn = 0; turn < 40 && left.length > 0; turn++) {
    await pause(25);
    left = remaining(before);
  }
  await harness.close?.();
  ledger.write("closed", { detail: left.join(", ") });
}

async function use(step: string, bus: Bus, declared: Topic<{ readonly n: number }>): Promise<void> {
  if (step === "connect") return;
  if (step === "unawaited") {
    // A publish that nobody awaits and that close interrupts is the caller's; it must still settle.
    void bus.publish(declared, { n: 1 }, stated(bus)).catch(() => undefined);
    return;
  }
  if (step === "consume") {
    const ten = Promise.withResolvers<void>();
    let seen = 0;
    await bus.subscribe(declared, readable(bus, { group: "g" }), () => {
      if (++seen === 10) ten.resolve();
    });
    for (let n = 0; n < 10; n++) await bus.publish(declared, { n }, stated(bus));
    await ten.promise;
    await bus.drain({ deadline: 5_000 });
    return;
  }
  for (let n = 0; n < 10; n++) await bus.publish(declared, { n }, stated(bus));
}

/** What is active now and was not before; the pause of this very check is not counted. */
function remaining(before: readonly string[]): string[] {
  const rest = [...before];
  return process.getActiveResourcesInfo().filter((name) => {
    const known = rest.indexOf(name);
    if (known >= 0) rest.splice(known, 1);
    return known < 0 && name !== "Immediate" && name !== "CloseReq";
  });
}
