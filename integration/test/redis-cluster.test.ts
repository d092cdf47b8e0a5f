/** The driver on a real cluster: topics of all slots, groups over several nodes, scripts whose keys are on one. */
import { afterAll } from "vitest";
import { conformance } from "@sluice/conformance/vitest";
import { startClusterNodes } from "../harnesses/redis-cluster-nodes.ts";

const nodes = await startClusterNodes();
if (nodes) process.env["REDIS_CLUSTER_URLS"] = nodes.urls;
afterAll(() => nodes?.stop(), 60_000);
conformance(new URL("../harnesses/redis-cluster.ts", import.meta.url), {
  profile: "standard",
  title: "redis cluster of three native nodes",
  ...(nodes === undefined && { unavailable: "there is no redis-server in the PATH" }),
});
