/** Defects on the way to the broker. */
import type { SendItem } from "@sluice/core/driver";
import { eachItem, mapBody, mapHeaders, type Mutant, withHeaders } from "./mutant.ts";

const number = (item: SendItem): number => Number(/\d+$/.exec(item.record.id)?.[0] ?? 0);

export const sending: readonly Mutant[] = [
  {
    name: "loses-one-in-ten",
    defect: "confirms every tenth record and does not store it",
    killedBy: ["DL-01", "DL-05", "AK-01", "G-10", "G-29", "BA-01", "OB-03"],
    changes: eachItem((item, count) => (count % 10 === 7 ? undefined : item)),
  },
  {
    name: "loses-the-last-before-close",
    defect: "keeps the last record of every call back for the next one, and forgets it at close",
    killedBy: ["LC-06", "DL-02", "LC-04"],
    changes: {
      sender(sender) {
        let kept: readonly SendItem[] = [];
        return {
          async send(items, signal) {
            const now = [...kept, ...items.slice(0, -1)];
            kept = items.slice(-1);
            if (now.length > 0) await sender.send(now, signal);
            return items.map(() => ({ outcome: "stored" }));
          },
        };
      },
    },
  },
  {
    name: "duplicates-one-in-ten",
    defect: "stores every tenth record twice",
    killedBy: ["DL-04", "G-10", "LC-09"],
    changes: {
      sender: (sender) => ({
        async send(items, signal) {
          const results = await sender.send(items, signal);
          const again = items.filter((item) => number(item) % 10 === 1 && item.to.group === undefined);
          if (again.length > 0) await sender.send(again, signal);
          return results;
        },
      }),
    },
  },
  {
    name: "confirms-before-storage",
    defect: "confirms at once and stores later, unless the connection is closed by then",
    killedBy: ["DL-11", "G-02"],
    changes: {
      sender: (sender) => {
        let open = true;
        return {
          async send(items) {
            setTimeout(() => void (open && sender.send(items, new AbortController().signal)), 30);
            return items.map(() => ({ outcome: "stored" }));
          },
          close(signal) {
            open = false;
            return sender.close(signal);
          },
        };
      },
      connection: (connection) => ({
        async sender() {
          const sender = await connection.sender();
          let open = true;
          void connection.closed.then(() => (open = false));
          return {
            closed: sender.closed,
            close: (signal) => sender.close(signal),
            async send(items) {
              setTimeout(() => void (open && sender.send(items, new AbortController().signal)), 30);
              return items.map(() => ({ outcome: "stored" }));
            },
          };
        },
      }),
    },
  },
  {
    name: "swaps-neighbours",
    defect: "stores the records of one call in reverse order",
    killedBy: ["OR-03", "BA-05", "OR-04"],
    changes: {
      sender: (sender) => ({
        send: async (items, signal) => [...(await sender.send(items.toReversed(), signal))].reverse(),
      }),
    },
  },
  {
    name: "stores-only-the-first-of-a-call",
    defect: "confirms a whole call and stores its first record",
    killedBy: ["BA-01", "LC-06", "BA-05"],
    changes: {
      sender: (sender) => ({
        async send(items, signal) {
          await sender.send(items.slice(0, 1), signal);
          return items.map(() => ({ outcome: "stored" }));
        },
      }),
    },
  },
  {
    name: "unroutable-is-a-success",
    defect: "reports what nobody keeps as stored",
    killedBy: ["RP-05"],
    changes: {
      sender: (sender) => ({
        async send(items, signal) {
          const results = await sender.send(items, signal);
          return results.map((result) => (result.outcome === "unroutable" ? { outcome: "stored" } : result));
        },
      }),
    },
  },
  {
    name: "ignores-the-delay",
    defect: "shows a delayed record at once",
    killedBy: ["RD-05", "RD-07"],
    changes: eachItem(({ to, record, from }) => ({ to, record, ...(from && { from }) })),
  },
  {
    name: "delays-for-ever",
    defect: "a delayed record never comes",
    killedBy: ["RD-05", "RD-07"],
    changes: eachItem((item) => (item.notBefore === undefined ? item : undefined)),
  },
  {
    name: "truncates-headers",
    defect: "cuts header values at 255 bytes without an error",
    killedBy: ["G-14"],
    changes: eachItem((item) => mapHeaders(item, (name, value) => [name, value.slice(0, 255)])),
  },
  {
    name: "trims-headers",
    defect: "trims header values",
    killedBy: ["G-14"],
    changes: eachItem((item) => mapHeaders(item, (name, value) => [name, value.trim()])),
  },
  {
    name: "drops-empty-headers",
    defect: "leaves out headers whose value is empty",
    killedBy: ["G-14"],
    changes: eachItem((item) => mapHeaders(item, (name, value) => (value === "" ? undefined : [name, value]))),
  },
  {
    name: "latin-1-headers",
    defect: "writes header values in Latin-1",
    killedBy: ["PL-01", "G-14"],
    changes: eachItem((item) =>
      mapHeaders(item, (name, value) => [name, Buffer.from(value, "utf8").toString("latin1")]),
    ),
  },
  {
    name: "normalises-headers",
    defect: "composes characters of header values (NFC)",
    killedBy: ["G-14"],
    changes: eachItem((item) => mapHeaders(item, (name, value) => [name, value.normalize("NFC")])),
  },
  {
    name: "headers-with-a-prototype",
    defect: "builds headers on a plain object: a header named __proto__ disappears",
    killedBy: ["G-14"],
    changes: eachItem((item) => mapHeaders(item, (name, value) => (name === "__proto__" ? undefined : [name, value]))),
  },
  {
    name: "body-as-text",
    defect: "reads bodies as UTF-8 text and writes them again",
    killedBy: ["PL-03", "G-15"],
    changes: eachItem((item) => mapBody(item, (body) => Buffer.from(Buffer.from(body).toString("utf8")))),
  },
  {
    name: "empty-body-is-null",
    defect: "an empty body arrives as a tombstone",
    killedBy: ["G-15"],
    changes: eachItem((item) => mapBody(item, (body) => (body.byteLength === 0 ? null : body))),
  },
  {
    name: "truncates-large-bodies",
    defect: "cuts bodies at 64 KiB",
    killedBy: ["G-15"],
    changes: eachItem((item) => mapBody(item, (body) => body.subarray(0, 65_536))),
  },
  {
    name: "base64-left-encoded",
    defect: "encodes bodies that are not text and never decodes them",
    killedBy: ["PL-03"],
    changes: eachItem((item) =>
      mapBody(item, (body) =>
        Buffer.from(body).equals(Buffer.from(Buffer.from(body).toString("utf8")))
          ? body
          : Buffer.from(Buffer.from(body).toString("base64")),
      ),
    ),
  },
  {
    name: "loses-the-key",
    defect: "stores records without their key",
    killedBy: ["DL-01", "OR-02"],
    changes: eachItem((item) => ({ ...item, record: { ...item.record, key: null } })),
  },
  {
    name: "ignores-priority",
    defect: "stores every record with the same priority",
    killedBy: ["RD-11"],
    changes: eachItem((item) => ({ ...item, record: { ...item.record, priority: 0 } })),
  },
  {
    name: "forgets-the-expiry",
    defect: "stores records without the time after which they are not wanted",
    killedBy: ["RD-08"],
    changes: eachItem((item) => {
      const { "sluice-expires-at": _, ...headers } = item.record.headers;
      return withHeaders(item, Object.assign(Object.create(null) as Record<string, string>, headers));
    }),
  },
];
