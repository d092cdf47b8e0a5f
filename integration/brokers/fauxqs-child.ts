// Runs as a process of its own, started by native-sqs-sns.ts with a port and a folder for the data. Not fauxqs's own command
// line: that one writes every request to its log.
import { mkdirSync } from "node:fs";
import { startFauxqs } from "fauxqs";

const [port, dataDir = "data"] = process.argv.slice(2);
mkdirSync(dataDir, { recursive: true });
const server = await startFauxqs({ port: Number(port), host: "127.0.0.1", dataDir, logger: false });
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.once(signal, () => void server.stop().finally(() => process.exit(0)));
}
