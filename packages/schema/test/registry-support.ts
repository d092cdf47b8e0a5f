import type { Bytes, WireMessage } from "@sluice/core";
import type { RegistryFetch, SchemaFormat, SchemaReference } from "@sluice/schema/registry";

export const base = "http://registry.test/api";
export const orderText =
  '{"type":"record","name":"Order","namespace":"com.example","fields":[{"name":"id","type":"string"},{"name":"qty","type":"int"}]}';
export const orderGuid = "8ef66e27-50c8-4f9d-ac73-0b7de2e6ec7a";

interface Stored {
  readonly subject: string;
  readonly version: number;
  readonly id: number;
  readonly schema: string;
  readonly schemaType?: string;
  readonly references?: readonly SchemaReference[];
}

/** A registry in memory, as far as the client asks. `requests` says what arrived; `failing` answers instead. */
export class FakeRegistry {
  readonly requests: string[] = [];
  readonly headers: Headers[] = [];
  readonly stored: Stored[] = [];
  guids = true;
  failing: ((call: string, init: RequestInit) => Response | undefined | Promise<Response | undefined>) | undefined;

  readonly fetch: RegistryFetch = async (url, init) => {
    const call = `${init.method} ${decodeURIComponent(url.slice(base.length))}`;
    this.requests.push(call);
    this.headers.push(new Headers(init.headers));
    const instead = await this.failing?.(call, init);
    if (instead) return instead;
    return this.#answer(call, typeof init.body === "string" ? (JSON.parse(init.body) as Stored) : undefined);
  };

  add(subject: string, schema: string, more: Partial<Stored> = {}): number {
    const same = this.stored.find((one) => one.schema === schema && one.schemaType === more.schemaType);
    const version = this.stored.filter((one) => one.subject === subject).length + 1;
    const id = same?.id ?? new Set(this.stored.map((one) => one.id)).size + 1;
    if (same?.subject !== subject) this.stored.push({ subject, version, id, schema, ...more });
    return id;
  }

  #answer(call: string, body: Stored | undefined): Response {
    const [, register] = /^POST \/subjects\/([^/]+)\/versions$/.exec(call) ?? [];
    if (register && body) {
      const { schema, ...more } = body;
      const id = this.add(register, schema, more);
      return json(200, this.guids ? { id, guid: guidOf(id) } : { id });
    }
    const found = this.stored.filter((one) => matches(one, call, body)).at(-1);
    if (found) return json(200, this.guids ? { ...found, guid: guidOf(found.id) } : found);
    if (call === "GET /subjects")
      return json(
        200,
        this.stored.map((one) => one.subject),
      );
    return json(404, { error_code: 40403, message: "Schema not found" });
  }
}

function matches(one: Stored, call: string, body: Stored | undefined): boolean {
  const { id, schema, subject, version } = one;
  if (call === `POST /subjects/${subject}`) return body?.schema === schema;
  return [
    `GET /schemas/ids/${id}`,
    `GET /schemas/guids/${guidOf(id)}`,
    `GET /subjects/${subject}/versions/${version}`,
    `GET /subjects/${subject}/versions/latest`,
  ].includes(call);
}

function guidOf(id: number): string {
  return id === 1 ? orderGuid : `00000000-0000-4000-8000-${String(id).padStart(12, "0")}`;
}

export function json(status: number, body: unknown): Response {
  return new Response(JSON.stringify(body), { status, headers: { "content-type": "application/json" } });
}

/** A format without a library: text as bytes. Reading says which schema wrote it. */
export function textFormat(
  changes: Partial<SchemaFormat<string>> = {},
): SchemaFormat<string> & { readonly compiled: string[] } {
  const compiled: string[] = [];
  return {
    contentType: "text/plain",
    schemaType: "AVRO",
    schemaText: orderText,
    name: "com.example.Order",
    write: (payload) => Buffer.from(payload),
    reader(writer) {
      compiled.push(writer.schema);
      return (body, _message, indexes) => `${indexes ? `${indexes.join(".")}:` : ""}${Buffer.from(body).toString()}`;
    },
    ...changes,
    compiled,
  };
}

export function wireMessage(changes: Partial<WireMessage> = {}): WireMessage {
  return {
    system: "memory",
    topic: "orders",
    id: "m-1",
    key: null,
    headers: {},
    body: null,
    time: 0,
    ...changes,
  } as WireMessage;
}

export const hex = (body: Bytes): string => Buffer.from(body).toString("hex");
