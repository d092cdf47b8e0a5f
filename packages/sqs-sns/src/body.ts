import type { Bytes } from "@sluice/core/driver";

/** A body as both services take it: text of at least one character. `encoding`: how it is to be read, when it is not itself. */
export interface EncodedBody {
  readonly text: string;
  readonly encoding: string | undefined;
}

/** Stands for a body of nothing: an empty text is refused. */
const placeholder = "-";

const illegal = /[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/u;
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

export function encodeBody(body: Bytes | null): EncodedBody {
  if (body === null) return { text: placeholder, encoding: "null" };
  if (body.byteLength === 0) return { text: placeholder, encoding: "empty" };
  const text = textOf(body);
  if (text !== undefined && !illegal.test(text)) return { text, encoding: undefined };
  const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength);
  return { text: bytes.toString("base64"), encoding: "base64" };
}

export function decodeBody(text: string, encoding: string | undefined): Bytes | null {
  switch (encoding) {
    case "null":
      return null;
    case "empty":
      return new Uint8Array();
    case "base64":
      return copied(Buffer.from(text, "base64"));
    default:
      return copied(Buffer.from(text));
  }
}

function textOf(body: Bytes): string | undefined {
  try {
    return decoder.decode(body);
  } catch {
    return undefined;
  }
}

/** Small buffers are slices of a shared one, which they would keep alive. */
function copied(buffer: Buffer): Bytes {
  return buffer.byteLength < Buffer.poolSize ? new Uint8Array(buffer) : buffer;
}
