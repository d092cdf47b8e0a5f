process.env.PUBSUB_EMULATOR_HOST = "127.0.0.1:8641"; process.env.METADATA_SERVER_DETECTION = "none";
const { openRawGooglePubsub } = await import("./harnesses/raw-google-pubsub.ts");
const { connect, topic } = await import("@sluice/core"); const { googlePubsub } = await import("@sluice/google-pubsub");
const bus = await connect(googlePubsub({ projectId: "sluice", leaseSeconds: 10, topicRetentionHours: 1 }));
const t = topic("t" + process.pid, { groups: ["g"] });
try { await bus.publish(t, { a: 1 }); console.log("published"); } catch (e) { console.log(e); }
const raw = await openRawGooglePubsub("127.0.0.1:8641", "sluice");
for (const f of ["consume", "depth", "deadLetters"] as const) try { await raw[f](t.name, "g"); console.log(f, "ok"); } catch (e) { console.log(f, e); }
process.exit(0);
