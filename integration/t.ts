process.env.PUBSUB_EMULATOR_HOST = "127.0.0.1:8641"; process.env.METADATA_SERVER_DETECTION = "none";
const { connect, topic } = await import("@sluice/core"); const { googlePubsub } = await import("@sluice/google-pubsub");
const bus = await connect(googlePubsub({ projectId: "sluice", leaseSeconds: 10, topicRetentionHours: 1 }));
const ordering = process.argv[2] as any;
const t = topic<{n: number}>("t" + process.pid, { groups: ["g"], key: (x) => "k" + x.n % 3, ordering });
const t0 = Date.now();
await bus.subscribe(t, { group: "g", window: Number(process.argv[3] ?? 256), concurrency: 5 }, (x) => console.log(Date.now() - t0, "got", x));
for (let n = 0; n < 6; n++) { await bus.publish(t, { n }); await new Promise(r => setTimeout(r, n * 700)); }
await bus.close(); console.log("closed");
