// Document edits in order per document, and a filter: the index reads all of them, the approval only those of contracts.
import { randomUUID } from "node:crypto";
import { connect, type Driver, topic } from "@sluice/core";
import { googlePubsub } from "@sluice/google-pubsub";
import { memory } from "@sluice/memory";

interface Edit {
  readonly document: string;
  readonly version: number;
}

// The key becomes the ordering key of Pub/Sub.
const Edits = topic<Edit>("edits", { key: ({ document }) => document, groups: ["index"] });

/** Pub/Sub when PUBSUB_PROJECT_ID is set (PUBSUB_EMULATOR_HOST leads to an emulator); otherwise a broker inside this process. */
function chooseDriver(): Driver {
  const { PUBSUB_PROJECT_ID } = process.env;
  return PUBSUB_PROJECT_ID ? googlePubsub({ projectId: PUBSUB_PROJECT_ID, prefix: "example-" }) : memory();
}

const run = randomUUID().slice(0, 8);
const indexed = new Map<string, number[]>();
const approved: string[] = [];
const documents = ["contract", "letter", "memo"];
const versions = [1, 2, 3, 4];
const complete = Promise.withResolvers<void>();

function look(): void {
  const all = [...indexed.values()].flat().length === documents.length * versions.length;
  if (all && approved.length === versions.length) complete.resolve();
}

const bus = await connect(chooseDriver());
await bus.subscribe(Edits, { group: "index" }, ({ document, version }, { message }) => {
  if (!document.startsWith(run)) return;
  // The first attempt at version 2 fails: versions 3 and 4 of that document wait for it.
  if (version === 2 && message.attempt === 1) throw new Error("the index is busy");
  indexed.set(document, [...(indexed.get(document) ?? []), version]);
  look();
});
await bus.subscribe(Edits, { group: "approval", filter: { class: "contract" } }, ({ document, version }) => {
  if (!document.startsWith(run)) return;
  approved.push(`${document.slice(run.length + 1)} ${version}`);
  look();
});

for (const version of versions) {
  await Promise.all(
    documents.map((name) => bus.publish(Edits, { document: `${run}-${name}`, version }, { headers: { class: name } })),
  );
}
await complete.promise;
for (const name of documents) console.log(`index, ${name}: ${indexed.get(`${run}-${name}`)?.join(", ")}`);
console.log(`approval: ${approved.join(", ")}`);
await bus.drain();
