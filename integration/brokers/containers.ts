import { randomBytes } from "node:crypto";
import type { ContainerRuntimeClient, StartedTestContainer, WaitStrategy } from "testcontainers";
import { containerSpecs } from "./container-specs.ts";
import { guard } from "./guard.ts";
import { fits, imageOf, knownVersions } from "./images.ts";
import { kinds } from "./kinds.ts";
import { orUndo } from "./native.ts";
import { freePorts } from "./ports.ts";
import { untilReady } from "./ready.ts";
import type { BrokerControl, BrokerRequest, Log, RunningBroker, StopMode } from "./types.ts";

const engineLimit = 5_000;
const stopSeconds = 40;
type Container = ReturnType<ContainerRuntimeClient["container"]["getById"]>;

/** The Docker engine's client, if one answers quickly; rejects with the reason otherwise. */
export async function containerEngine(): Promise<ContainerRuntimeClient> {
  const { getContainerRuntimeClient } = await import("testcontainers");
  const timer = Promise.withResolvers<never>();
  const timeout = setTimeout(() => timer.reject(new Error("it did not answer in time")), engineLimit);
  try {
    return await Promise.race([getContainerRuntimeClient(), timer.promise]);
  } catch (error) {
    throw new Error(`no Docker engine: ${(error as Error).message}`, { cause: error });
  } finally {
    clearTimeout(timeout);
  }
}

/** A broker in a container, through Testcontainers, with the image of docker-compose.yml. */
export async function startContainer(request: BrokerRequest, log: Log): Promise<RunningBroker> {
  const engine = await containerEngine();
  const { broker } = request;
  const image = imageOf(broker, request.version);
  const since = Date.now();
  const { name, forget } = guardedName(engine, broker);
  // n.b. a fixed port: Docker gives a container another random one after every restart, and
  // Kafka has to know beforehand what to advertise.
  const [port = 0] = await freePorts(1);
  const host = engine.info.containerRuntime.host === "localhost" ? "127.0.0.1" : engine.info.containerRuntime.host;
  const kind = kinds[broker];
  const address = kind.address(`${host}:${port}`);
  log(`starting ${image} in a container`);
  const started = await create(request, image, `${host}:${port}`, name);
  const stop = once(async () => {
    await started.stop({ timeout: 0, remove: true, removeVolumes: true });
    forget();
  });
  const container = engine.container.getById(started.getId());
  const ready = () => untilServing(container, request, `${host}:${port}`);
  const said = await orUndo(stop, ready);
  return {
    broker,
    provider: "containers",
    version: said ?? knownVersions(broker).find((each) => fits(each, request.version)) ?? request.version ?? "unknown",
    environment: kind.environment(address),
    keepsData: containerSpecs[broker].keepsData,
    address,
    environmentVariables: kind.variables(address),
    readyAfter: Date.now() - since,
    control: controlOf(container, request, started, ready),
    stop,
  };
}

async function create(
  { broker, version }: BrokerRequest,
  image: string,
  advertised: string,
  name: string,
): Promise<StartedTestContainer> {
  const { GenericContainer } = await import("testcontainers");
  const spec = containerSpecs[broker];
  const port = { container: spec.port, host: Number(advertised.split(":").at(-1)) };
  const container = new GenericContainer(image).withName(name).withWaitStrategy(noWait).withExposedPorts(port);
  return spec
    .configure(container, advertised, version)
    .start()
    .catch((error: unknown) => {
      const { message } = error as Error;
      const hint =
        process.env["TESTCONTAINERS_RYUK_DISABLED"] === "true"
          ? ""
          : "; if only Testcontainers' own image (testcontainers/ryuk) cannot be had, set TESTCONTAINERS_RYUK_DISABLED=true";
      throw new Error(`${image} could not be started: ${message}${hint}`, { cause: error });
    });
}

/** Readiness is asked of the broker itself, the same way for every provider. */
const noWait: WaitStrategy = {
  waitUntilReady: () => Promise.resolve(),
  withStartupTimeout: () => noWait,
  isStartupTimeoutSet: () => true,
  getStartupTimeout: () => 0,
};

/**
 * A name that the guard knows before the container exists. The reaper of Testcontainers does
 * the same job, but it cannot run everywhere.
 */
function guardedName(engine: ContainerRuntimeClient, broker: string): { name: string; forget: () => void } {
  const name = `sluice-${broker}-${process.pid}-${randomBytes(4).toString("hex")}`;
  const { socketPath } = engine.container.dockerode.modem as { socketPath?: string };
  if (!socketPath) return { name, forget: () => {} };
  return { name, forget: guard({ kind: "container", socket: socketPath, name }) };
}

function untilServing(container: Container, { broker }: BrokerRequest, endpoint: string): Promise<string | undefined> {
  return untilReady(broker, kinds[broker].address(endpoint), {
    within: 120_000,
    hopeless: async () => {
      const { State } = await container.inspect();
      return State.Running ? undefined : `the container ended with code ${State.ExitCode}`;
    },
    tail: async () => {
      const log = await container.logs({ stdout: true, stderr: true, tail: 30 });
      // Docker frames each piece with eight binary bytes.
      return log.toString("utf8").replaceAll(/[^\t\n -~]+/g, "");
    },
  });
}

function controlOf(
  container: Container,
  { broker }: BrokerRequest,
  started: StartedTestContainer,
  ready: () => Promise<unknown>,
): BrokerControl {
  const stop = async (mode: StopMode): Promise<void> => {
    const { State } = await container.inspect();
    if (!State.Running) return;
    const ended = container.wait();
    await (mode === "kill" ? container.kill({ signal: "SIGKILL" }) : container.stop({ t: stopSeconds }));
    await ended;
  };
  const start = async (): Promise<void> => {
    const { State } = await container.inspect();
    if (!State.Running) await container.start();
    await ready();
  };
  const restart = async (mode: StopMode): Promise<void> => {
    await stop(mode);
    await start();
  };
  if (broker !== "rabbitmq") return { restart, stop, start };
  const rabbitmqctl = async (...words: readonly string[]): Promise<void> => {
    const result = await started.exec(["rabbitmqctl", ...words]);
    if (result.exitCode !== 0) throw new Error(`rabbitmqctl ${words[0]}: ${result.output}`);
  };
  const memoryAlarm = (on: boolean): Promise<void> =>
    rabbitmqctl("set_vm_memory_high_watermark", on ? "0.00001" : "0.4");
  return { restart, stop, start, memoryAlarm, rabbitmqctl };
}

function once(action: () => Promise<void>): () => Promise<void> {
  let done: Promise<void> | undefined;
  return () => (done ??= action());
}
