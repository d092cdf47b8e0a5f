// Runs as a process of its own, started by native-sqs-sns.ts with a port. Not fauxqs's own command line: that one writes every
// request to its log.
import { startFauxqs } from "fauxqs";

// n.b. in memory: with a folder for its data fauxqs 2.4.1 loses every message whose visibility is set to 0.
const server = await startFauxqs({ port: Number(process.argv[2]), host: "127.0.0.1", logger: false });
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.once(signal, () => void server.stop().finally(() => process.exit(0)));
}
