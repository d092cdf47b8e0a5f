import { grpc } from "google-gax";
import { methods, type Method } from "./src/methods.ts";
const P = "projects/probe";
export const client = new grpc.Client("127.0.0.1:8641", grpc.credentials.createInsecure(), {"grpc.max_receive_message_length": -1});
export function call<Q, A>(m: Method<Q, A>, q: Q): Promise<A> {
  return new Promise((res, rej) => client.makeUnaryRequest(m.path, m.encode, m.decode, q, (e, a) => e ? rej(e) : res(a as A)));
}
const sleep = (ms: number) => new Promise(r => setTimeout(r, ms));
let n = 0;
async function make(opts: object = {}, topicOpts: object = {}) {
  const id = `t${process.pid}-${n++}`;
  const topic = `${P}/topics/${id}`, name = `${P}/subscriptions/${id}`;
  await call(methods.createTopic, { name: topic, ...topicOpts });
  const sub = await call(methods.createSubscription, { name, topic, ackDeadlineSeconds: 10, ...opts });
  return { topic, name, sub };
}
const pub = (topic: string, xs: {body: string, key?: string}[]) => call(methods.publish, { topic, messages: xs.map(x => ({ data: Buffer.from(x.body), attributes: { a: "1" }, orderingKey: x.key ?? "" })) });
const open = (name: string, max: number, log: (s: string, m: any) => void, id = "s") => {
  const s = client.makeBidiStreamRequest(methods.streamingPull.path, methods.streamingPull.encode, methods.streamingPull.decode, new grpc.Metadata(), {});
  s.on("data", (r: any) => { for (const m of r.receivedMessages) log(id, m); });
  s.on("error", (e: any) => console.log("  stream error", id, e.code, e.details));
  s.on("end", () => console.log("  end", id)); s.on("status", (st: any) => console.log("  status", id, st.code, st.details)); s.on("metadata", () => console.log("  metadata", id));
  s.write({ subscription: name, streamAckDeadlineSeconds: 10, maxOutstandingMessages: max, maxOutstandingBytes: 10_000_000, clientId: id });
  return s;
};
const t0 = Date.now(); const L = (...a: any[]) => console.log(String(Date.now() - t0).padStart(6), ...a);
const tests: Record<string, () => Promise<void>> = {
  async outstanding() {
    const { topic, name } = await make();
    await pub(topic, Array.from({ length: 50 }, (_, i) => ({ body: `${i}` })));
    const got: any[] = [];
    const s = open(name, 7, (_, m) => got.push(m));
    await sleep(1500); L("max 7, got", got.length);
    await call(methods.acknowledge, { subscription: name, ackIds: got.slice(0, 3).map(m => m.ackId) });
    await sleep(1000); L("after 3 acks", got.length);
    await call(methods.modifyAckDeadline, { subscription: name, ackIds: got.slice(3, 5).map(m => m.ackId), ackDeadlineSeconds: 0 });
    await sleep(1000); L("after 2 nacks", got.length, got.map(m => String(m.message.data)).join(","));
    s.cancel(); const at = Date.now();
    const again: any[] = []; const s2 = open(name, 100, (_, m) => { if (!again.length) L("first after cancel", Date.now() - at); again.push(m); }, "s2");
    await sleep(12000); L("s2 total", again.length, "of 47"); s2.cancel();
    L("attempt", again[0]?.deliveryAttempt);
  },
  async halfclose() {
    const { topic, name } = await make();
    await pub(topic, Array.from({ length: 5 }, (_, i) => ({ body: `${i}` })));
    const got: any[] = []; const s = open(name, 100, (_, m) => got.push(m)); await sleep(500);
    s.end(); L("ended"); await sleep(1000); await pub(topic, [{ body: "later" }]); await sleep(1000); L("got", got.length);
    const s2 = open(name, 100, (_, m) => L("s2", String(m.message.data)), "s2"); await sleep(500);
    await call(methods.acknowledge, { subscription: name, ackIds: got.map(m => m.ackId) }); await sleep(12000); s2.cancel(); s.cancel();
  },
  async attempts() {
    const { topic, name } = await make({}); const d = await make();
    const p = await make({ deadLetterPolicy: { deadLetterTopic: d.topic, maxDeliveryAttempts: 100 } });
    await pub(p.topic, [{ body: "x" }]); let k = 0;
    const s = open(p.name, 10, (_, m) => { L("attempt", m.deliveryAttempt); if (k++ < 4) void call(methods.modifyAckDeadline, { subscription: p.name, ackIds: [m.ackId], ackDeadlineSeconds: 0 }); });
    await sleep(2000); s.cancel();
    const s2 = open(p.name, 10, (_, m) => L("s2 attempt", m.deliveryAttempt), "s2"); await sleep(11500); s2.cancel();
    const pl = await call(methods.pull, { subscription: p.name, maxMessages: 5, returnImmediately: true }); L("pull now", pl.receivedMessages.length);
  },
  async ordered() {
    const { topic, name } = await make({ enableMessageOrdering: true });
    for (let i = 0; i < 6; i++) await pub(topic, [{ body: `a${i}`, key: "a" }]);
    for (let i = 0; i < 6; i++) await pub(topic, [{ body: `b${i}`, key: "b" }]);
    const got: any[] = []; const log = (id: string, m: any) => { got.push(m); L(id, String(m.message.data)); };
    const s1 = open(name, 3, log, "s1"); const s2 = open(name, 100, log, "s2"); await sleep(1500);
    L("nack all in order"); await call(methods.modifyAckDeadline, { subscription: name, ackIds: got.map(m => m.ackId), ackDeadlineSeconds: 0 }); await sleep(2000);
    s1.cancel(); s2.cancel();
  },
  async orderedPull() {
    const { topic, name } = await make({ enableMessageOrdering: true });
    for (let i = 0; i < 6; i++) await pub(topic, [{ body: `a${i}`, key: "a" }]);
    const p = async (max: number) => { const r = await call(methods.pull, { subscription: name, maxMessages: max, returnImmediately: true }); L("pull", max, r.receivedMessages.map((m: any) => String(m.message.data)).join()); return r.receivedMessages; };
    const one = await p(2); const two = await p(10); 
    await call(methods.modifyAckDeadline, { subscription: name, ackIds: two.map((m: any) => m.ackId), ackDeadlineSeconds: 0 });
    await call(methods.modifyAckDeadline, { subscription: name, ackIds: one.map((m: any) => m.ackId), ackDeadlineSeconds: 0 });
    await sleep(300); await p(10);
  },
  async snapshot() {
    const { topic, name } = await make();
    await pub(topic, Array.from({ length: 10 }, (_, i) => ({ body: `${i}` })));
    const r = await call(methods.pull, { subscription: name, maxMessages: 4, returnImmediately: true });
    await call(methods.acknowledge, { subscription: name, ackIds: r.receivedMessages.slice(0, 2).map((m: any) => m.ackId) });
    const { protos } = await import("@google-cloud/pubsub"); const v1 = protos.google.pubsub.v1;
    const create: any = { path: "/google.pubsub.v1.Subscriber/CreateSnapshot", encode: (q: any) => Buffer.from(v1.CreateSnapshotRequest.encode(q).finish()), decode: (b: any) => v1.Snapshot.decode(b) };
    const sn = `${P}/snapshots/s${process.pid}`; await call(create, { name: sn, subscription: name });
    const probe = `${name}-probe`; await call(methods.createSubscription, { name: probe, topic, ackDeadlineSeconds: 10 });
    await call(methods.seek, { subscription: probe, snapshot: sn });
    const q = await call(methods.pull, { subscription: probe, maxMessages: 100, returnImmediately: true }); L("probe sees", q.receivedMessages.map((m: any) => String(m.message.data)).join());
    const rest = await call(methods.pull, { subscription: name, maxMessages: 100, returnImmediately: true }); L("group still gives", rest.receivedMessages.length, "(6 expected)");
  },
  async labels() {
    const { topic, name, sub } = await make({ labels: { sluice: "broadcast" }, expirationPolicy: { ttl: { seconds: 86400 } }, retainAckedMessages: true, filter: 'attributes."a" = "1"' });
    L(JSON.stringify(sub));
    try { const u = await call(methods.updateSubscription, { subscription: { name, labels: { sluice: "x2" } }, updateMask: { paths: ["labels"] } }); L("updated", JSON.stringify(u.labels)); } catch (e: any) { L("update", e.message); }
    const t = await call(methods.listTopicSubscriptions, { topic }); L("subs", t.subscriptions);
    try { await call(methods.getTopic, { topic: `${P}/topics/nonsense` }); } catch (e: any) { L(e.code, e.details); }
    try { await call(methods.modifyAckDeadline, { subscription: name, ackIds: ["bogus"], ackDeadlineSeconds: 10 }); L("bogus modack ok"); } catch (e: any) { L(e.code, e.details); }
    try { await call(methods.createTopic, { name: `${P}/topics/ret${process.pid}`, messageRetentionDuration: { seconds: 3600 } }); L("topic retention ok"); } catch (e: any) { L(e.code, e.details); }
    try { await call(methods.createTopic, { name: topic }); } catch (e: any) { L("exists", e.code, e.details); }
    try { await pub(`${P}/topics/none`, [{ body: "x" }]); } catch (e: any) { L("publish none", e.code, e.details); }
    const s = open(`${P}/subscriptions/none`, 1, () => {}, "none"); await sleep(500);
  },
  async names() {
    for (const id of ["a%2Eb", "a~b", "a+b", "a.b_c-d", "goog-x", "1ab", "ab", "A" + "b".repeat(254), "A" + "b".repeat(255), "ä12"]) {
      try { await call(methods.createTopic, { name: `${P}/topics/${id}` }); L("ok", id.slice(0, 10), id.length); } catch (e: any) { L("no", id.slice(0, 10), e.details.slice(0, 90)); }
    }
  },
  async snap2() {
    const { protos } = await import("@google-cloud/pubsub"); const v1 = protos.google.pubsub.v1;
    const create: any = { path: "/google.pubsub.v1.Subscriber/CreateSnapshot", encode: (q: any) => Buffer.from(v1.CreateSnapshotRequest.encode(q).finish()), decode: (b: any) => v1.Snapshot.decode(b) };
    const { topic, name } = await make({ retainAckedMessages: true }, { messageRetentionDuration: { seconds: 3600 } });
    const early = `${name}-early`; await call(methods.createSubscription, { name: early, topic, ackDeadlineSeconds: 10, retainAckedMessages: true });
    await pub(topic, Array.from({ length: 10 }, (_, i) => ({ body: `${i}` })));
    const r = await call(methods.pull, { subscription: name, maxMessages: 4, returnImmediately: true });
    await call(methods.acknowledge, { subscription: name, ackIds: r.receivedMessages.slice(0, 2).map((m: any) => m.ackId) });
    const sn = `${P}/snapshots/x${process.pid}`; await call(create, { name: sn, subscription: name });
    const probe = `${name}-probe`; await call(methods.createSubscription, { name: probe, topic, ackDeadlineSeconds: 10, retainAckedMessages: true });
    for (const p of [probe, early]) {
      await call(methods.seek, { subscription: p, snapshot: sn }); await sleep(500);
      const q = await call(methods.pull, { subscription: p, maxMessages: 100, returnImmediately: true }); L(p.slice(-6), "snapshot sees", q.receivedMessages.map((m: any) => String(m.message.data)).join());
      await call(methods.seek, { subscription: p, time: { seconds: 1 } }); await sleep(500);
      const q2 = await call(methods.pull, { subscription: p, maxMessages: 100, returnImmediately: true }); L(p.slice(-6), "time sees", q2.receivedMessages.map((m: any) => String(m.message.data)).join());
    }
    const mon = await call(methods.getSubscription, { subscription: name }); L(JSON.stringify(mon));
  },
  async update() {
    const { name } = await make({ expirationPolicy: { ttl: { seconds: 86400 } } });
    for (const [path, value] of [["expiration_policy", { expirationPolicy: { ttl: { seconds: 90000 } } }], ["ack_deadline_seconds", { ackDeadlineSeconds: 20 }], ["message_retention_duration", { messageRetentionDuration: { seconds: 700 } }], ["dead_letter_policy", {}], ["enable_message_ordering", { enableMessageOrdering: true }]] as const)
      try { const u = await call(methods.updateSubscription, { subscription: { name, ...value }, updateMask: { paths: [path] } }); L("updated", path); } catch (e: any) { L("update", path, e.details.slice(0, 100)); }
  },
  async pullrate() {
    const { topic, name } = await make();
    for (let k = 0; k < 10; k++) await pub(topic, Array.from({ length: 1000 }, (_, i) => ({ body: `${k}-${i}` })));
    let t = Date.now(), sum = 0, calls = 0;
    while (sum < 10000) { const r = await call(methods.pull, { subscription: name, maxMessages: 128, returnImmediately: true }); calls++; sum += r.receivedMessages.length; if (r.receivedMessages.length) await call(methods.acknowledge, { subscription: name, ackIds: r.receivedMessages.map((m: any) => m.ackId) }); }
    L("pull rate", Math.round(sum / (Date.now() - t) * 1000), "calls", calls);
    for (let k = 0; k < 10; k++) await pub(topic, Array.from({ length: 1000 }, (_, i) => ({ body: `${k}-${i}` })));
    t = Date.now(); sum = 0; await new Promise<void>(r => { const s = open(name, 1000, (_, m) => { if (++sum === 10000) { s.cancel(); r(); } }); }); L("stream rate", Math.round(sum / (Date.now() - t) * 1000));
    let w = Date.now(); await call(methods.pull, { subscription: name, maxMessages: 1, returnImmediately: true }); L("empty pull ms", Date.now() - w);
  },
  async latency() {
    const { topic, name } = await make(); let at = 0; const ls: number[] = [];
    const s = open(name, 100, (_, m) => { ls.push(Date.now() - at); void call(methods.acknowledge, { subscription: name, ackIds: [m.ackId] }); }); await sleep(500);
    for (let i = 0; i < 20; i++) { at = Date.now(); await pub(topic, [{ body: "x" }]); await sleep(150); } L("stream latency", ls.join()); s.cancel();
  },
  async snap3() {
    const { protos } = await import("@google-cloud/pubsub"); const v1 = protos.google.pubsub.v1;
    const create: any = { path: "/google.pubsub.v1.Subscriber/CreateSnapshot", encode: (q: any) => Buffer.from(v1.CreateSnapshotRequest.encode(q).finish()), decode: (b: any) => v1.Snapshot.decode(b) };
    let k = 0;
    for (const [ret, srcRetain, probeRetain] of [[false, false, true], [false, true, false], [false, true, true], [true, false, false]]) {
      const { topic, name } = await make({ retainAckedMessages: srcRetain }, ret ? { messageRetentionDuration: { seconds: 3600 } } : {});
      await pub(topic, Array.from({ length: 10 }, (_, i) => ({ body: `${i}` })));
      const r = await call(methods.pull, { subscription: name, maxMessages: 4, returnImmediately: true });
      await call(methods.acknowledge, { subscription: name, ackIds: r.receivedMessages.slice(0, 2).map((m: any) => m.ackId) });
      const sn = `${P}/snapshots/y${process.pid}${k++}`; await call(create, { name: sn, subscription: name });
      const probe = `${name}-probe`; await call(methods.createSubscription, { name: probe, topic, ackDeadlineSeconds: 10, retainAckedMessages: probeRetain });
      await call(methods.seek, { subscription: probe, snapshot: sn }); await sleep(300);
      const q = await call(methods.pull, { subscription: probe, maxMessages: 100, returnImmediately: true }); L(`topicRet ${ret} src ${srcRetain} probe ${probeRetain} sees`, q.receivedMessages.map((m: any) => String(m.message.data)).join());
    }
  },
  async idle() {
    const { name } = await make(); const s = open(name, 5, () => {}); L("open");
    s.on("status", () => L("closed")); await sleep(100_000); s.cancel();
  },
};
for (const name of process.argv.slice(2)) { console.log(`== ${name}`); try { await tests[name]!(); } catch (e) { console.log("FAILED", e); } }
process.exit(0);
