/** Consumers and producers that can be killed: child processes, or, for a broker inside this process, their simulation. */
import type { Driver } from "@sluice/core";
import { DriverError } from "@sluice/core/driver";
import { after, monotonicMs } from "./clock.ts";
import type { CaseContext } from "./context.ts";
import type { Harness } from "./harness.ts";
import { type ConsumerPlan, consumerWorker } from "./workers/consumer.ts";
import { type PipelinePlan, pipelineWorker } from "./workers/pipeline.ts";
import { type ProducerPlan, producerWorker } from "./workers/producer.ts";

export interface Member {
  readonly name: string;
  /** Dies at once, without a goodbye. */
  kill(): Promise<void>;
  /** Closes in order. */
  stop(): Promise<void>;
  /** Resolves when it ended, however. */
  readonly ended: Promise<"killed" | "ended">;
  /** Whether it can be frozen (SIGSTOP); `undefined` in this process. */
  readonly freeze: ((ms: number) => void) | undefined;
}

let counter = 0;

export function startConsumer(context: CaseContext, plan: ConsumerPlan): Member {
  return start(context, "consumer", { ...plan });
}

export function startProducer(context: CaseContext, plan: ProducerPlan): Member {
  return start(context, "producer", { ...plan });
}

export function startPipeline(context: CaseContext, plan: PipelinePlan): Member {
  return start(context, "pipeline", { ...plan });
}

function start(
  context: CaseContext,
  worker: "consumer" | "producer" | "pipeline",
  options: Readonly<Record<string, unknown>>,
): Member {
  const name = `${worker}-${++counter}`;
  return context.harness.crash ? inProcess(context, name, worker, options) : inChild(context, name, worker, options);
}

function inChild(
  context: CaseContext,
  name: string,
  worker: string,
  options: Readonly<Record<string, unknown>>,
): Member {
  const child = context.supervisor.start(worker, name, options);
  let thawsAtMs = 0;
  return {
    name,
    kill: async () => void (await child.kill()),
    // A frozen one begins to close when it thaws.
    stop: async () => void (await child.stop(20_000 + Math.max(0, thawsAtMs - monotonicMs()))),
    ended: child.exited.then(({ signal }) => (signal === null ? "ended" : "killed")),
    freeze(ms) {
      child.freeze();
      thawsAtMs = monotonicMs() + ms;
      after(ms, () => child.thaw());
    },
  };
}

/** n.b. The bus of a "dead" process would connect again, and send what it still has. */
function mortal(driver: Driver, isDead: () => boolean): Driver {
  return {
    ...driver,
    async connect(connecting) {
      if (isDead()) throw new DriverError("UNAVAILABLE", `${driver.name}: this client is dead`);
      return driver.connect(connecting);
    },
  };
}

function inProcess(
  context: CaseContext,
  name: string,
  worker: "consumer" | "producer" | "pipeline",
  options: Readonly<Record<string, unknown>>,
): Member {
  const ledger = context.journal.ledger(name);
  const stopped = Promise.withResolvers<void>();
  const death = new AbortController();
  const ended = Promise.withResolvers<"killed" | "ended">();
  const clientName = `${context.run}-${context.id}-${name}`.toLowerCase();
  let dead = false;
  // A dead process writes nothing, its connection is cut, and it makes no other; what is left of it here closes without being heard.
  const die = () => {
    dead = true;
    ledger.close();
    context.harness.crash?.(clientName);
    death.abort();
    stopped.resolve();
    ended.resolve("killed");
  };
  const run = { consumer: consumerWorker, producer: producerWorker, pipeline: pipelineWorker }[worker];
  const { run: id } = context;
  const driver: Harness["driver"] = (variant) => mortal(context.harness.driver(variant), () => dead);
  const working = run({
    harness: { ...context.harness, driver },
    ledger,
    run: id,
    stopped: stopped.promise,
    options,
    die,
    clientName,
    dead: death.signal,
  }).then(
    () => ended.resolve("ended"),
    (error: unknown) => {
      ledger.write("problem", { detail: String(error) });
      ended.resolve("killed");
    },
  );
  context.cleanup(async () => {
    stopped.resolve();
    await working;
  });
  return {
    name,
    kill: async () => die(),
    async stop() {
      stopped.resolve();
      await ended.promise;
    },
    ended: ended.promise,
    freeze: undefined,
  };
}
