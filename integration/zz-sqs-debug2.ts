import { connect, topic } from "@sluice/core";
import { sqsSns } from "@sluice/sqs-sns";
const endpoint = process.env["E"]!;
await new Promise((r) => setTimeout(r, 20));
const before = process.getActiveResourcesInfo();
const bus = await connect(sqsSns({ endpoint, region: "us-east-1", credentials: { accessKeyId: "a", secretAccessKey: "b" }, visibilitySeconds: 4, waitSeconds: 2 }));
await bus.close();
await new Promise((r) => setTimeout(r, 1000));
const s = [globalThis.__stdout, globalThis.__stderr, globalThis.__stdin]; console.error(s);
