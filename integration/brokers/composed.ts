import { execFile } from "node:child_process";
import { join } from "node:path";
import { externalAddress } from "./external.ts";
import { kinds } from "./kinds.ts";
import { brokerNames } from "./providers.ts";

const folder = join(import.meta.dirname, "../..");

/** A line of `docker compose ps --format json`. */
interface Service {
  readonly Service: string;
  readonly Health: string;
  readonly Publishers: readonly { readonly PublishedPort: number }[] | null;
}

/**
 * The environment variables that lead to the healthy services of this repository's docker-compose.yml; none for a broker that the
 * environment names already. Other people's brokers on the same ports are never taken for ours: Compose is asked, not the ports.
 */
export async function composed(): Promise<Readonly<Record<string, string>>> {
  const healthy = (await running()).filter(({ Health }) => Health === "healthy");
  const found = brokerNames.map((broker) => {
    const { services, address, variables } = kinds[broker];
    const ports = healthy
      .find(({ Service }) => Service === services[0])
      ?.Publishers?.map(({ PublishedPort }) => PublishedPort)
      .filter((port) => port > 0);
    if (!ports?.length || externalAddress(broker)) return {};
    // RabbitMQ's console has a port, too: the protocol has the lower one.
    return variables(address(`localhost:${Math.min(...ports)}`));
  });
  return Object.assign({}, ...found) as Readonly<Record<string, string>>;
}

/** None where there is no Docker, no Compose, or nothing runs. */
function running(): Promise<readonly Service[]> {
  return new Promise((resolve) => {
    execFile("docker", ["compose", "ps", "--format", "json"], { cwd: folder, timeout: 10_000 }, (error, stdout) => {
      const lines = error ? [] : stdout.split("\n").filter((line) => line.startsWith("{"));
      resolve(lines.map((line) => JSON.parse(line) as Service));
    });
  });
}
