import { promisify } from "node:util";
import * as zlib from "node:zlib";
import { SluiceError } from "@sluice/core";
import type { Bytes, WireMessage, WireMiddleware } from "@sluice/core";

export type Algorithm = "gzip" | "brotli" | "zstd";

/** Options of {@link compress}. */
export interface CompressOptions {
  /** What is written; all three are read. zstd needs Node 22.15 or newer. @default 'gzip' */
  readonly algorithm?: Algorithm;
  /** Bodies below this many bytes stay as they are. @default 1024 */
  readonly threshold?: number;
  /** Most bytes that a body may become when it is read; a larger one is not compressed by us. @default 16 MiB */
  readonly maxBytes?: number;
  /** Most bytes that come out of one; the first MiB is free. @default 200 */
  readonly maxExpansion?: number;
}

/** One of the algorithms, as Node has it. */
interface Codec {
  /** Its token in `content-encoding`. */
  readonly token: string;
  /** What packed bodies begin with, in hexadecimal; brotli's begin with anything. */
  readonly begins?: string;
  readonly pack: (body: Bytes) => Promise<Bytes>;
  /** Rejects as soon as more than `maxBytes` came out. */
  readonly unpack: (body: Bytes, maxBytes: number) => Promise<Bytes>;
}

type Zlib = Partial<Pick<typeof zlib, "zstdCompress" | "zstdDecompress">> &
  Pick<typeof zlib, "gzip" | "gunzip" | "brotliCompress" | "brotliDecompress" | "constants">;

const header = "content-encoding";
/** Fewer, larger pieces: each is a trip to another thread. */
const chunkSize = 64 * 1024;
const freeBytes = 1024 * 1024;
/** Encodings of one body. More than two are somebody's trick. */
const mostLayers = 3;
/** n.b. A frame of zstd names the memory that its reader must have: 8 MiB is what every reader has to offer, and the most here. */
const largestZstdWindow = 23;

/** @param node `node:zlib`, or one that lacks something */
export function codecs(node: Zlib = zlib): Readonly<Record<Algorithm, Codec | undefined>> {
  const { gzip, gunzip, brotliCompress, brotliDecompress, zstdCompress, zstdDecompress, constants } = node;
  const gzipAsync = promisify<Bytes, zlib.ZlibOptions, Buffer>(gzip);
  const gunzipAsync = promisify<Bytes, zlib.ZlibOptions, Buffer>(gunzip);
  const brotliAsync = promisify<Bytes, zlib.BrotliOptions, Buffer>(brotliCompress);
  const unbrotliAsync = promisify<Bytes, zlib.BrotliOptions, Buffer>(brotliDecompress);
  return {
    gzip: {
      token: "gzip",
      begins: "1f8b",
      pack: (body) => gzipAsync(body, { chunkSize }),
      unpack: (body, maxOutputLength) => gunzipAsync(body, { chunkSize, maxOutputLength }),
    },
    brotli: {
      token: "br",
      // Node's default, 11, is for files that are packed once: 50 times slower than 5, and a tenth smaller.
      pack: (body) => brotliAsync(body, { chunkSize, params: { [constants.BROTLI_PARAM_QUALITY]: 5 } }),
      unpack: async (body, maxOutputLength) =>
        whole(body, await unbrotliAsync(body, { chunkSize, maxOutputLength, info: true })),
    },
    zstd: zstdCompress && zstdDecompress && zstdOf(zstdCompress, zstdDecompress, constants),
  };
}

function zstdOf(
  pack: typeof zlib.zstdCompress,
  unpack: typeof zlib.zstdDecompress,
  constants: Zlib["constants"],
): Codec {
  const packAsync = promisify<Bytes, zlib.ZstdOptions, Buffer>(pack);
  const unpackAsync = promisify<Bytes, zlib.ZstdOptions, Buffer>(unpack);
  const params = { [constants.ZSTD_d_windowLogMax]: largestZstdWindow };
  return {
    token: "zstd",
    begins: "28b52ffd",
    pack: (body) => packAsync(body, { chunkSize }),
    unpack: async (body, maxOutputLength) =>
      whole(body, await unpackAsync(body, { chunkSize, maxOutputLength, params, info: true })),
  };
}

/**
 * n.b. Node reads brotli up to its end, and zstd up to the end of its first frame, and says nothing of what follows: a body of several
 * frames would lose all but one.
 * @param read what comes with the option `info`
 */
function whole(body: Bytes, read: unknown): Bytes {
  const { buffer, engine } = read as { readonly buffer: Bytes; readonly engine: { readonly bytesWritten: number } };
  const left = body.byteLength - engine.bytesWritten;
  if (left === 0) return buffer;
  throw new Error(`${left} bytes follow after its end`);
}

const tokens: Readonly<Record<string, Algorithm>> = { gzip: "gzip", "x-gzip": "gzip", br: "brotli", zstd: "zstd" };

/**
 * Compresses bodies on other threads, and says so in the header `content-encoding`. A body that would not get smaller, that no
 * reader would unpack again, or that its publisher packed, goes out as it is. Reads what other programs packed; an encoding that
 * it does not know stays.
 *
 * A body counts as packed by its publisher where the header says so and its bytes agree. With the headers of another message, which
 * was forwarded, a plain body is taken for what it is.
 *
 * Comes before `encrypt` in `wire`: what is encrypted cannot be compressed.
 *
 * A body that expands beyond the limits is given up while it expands, and dead-lettered (`invalid`), as is a damaged one.
 *
 * @throws SluiceError `UNSUPPORTED` for zstd on a Node without it; `CONFIG`
 */
export function compress(options: CompressOptions = {}): WireMiddleware {
  const { algorithm = "gzip", threshold = 1024, maxBytes = 16 * 1024 * 1024, maxExpansion = 200 } = options;
  for (const [name, value] of Object.entries({ threshold, maxBytes, maxExpansion })) {
    if (!(value >= 1)) throw new SluiceError("CONFIG", `compress: ${name} is ${value}; give a number of at least 1`);
  }
  const available = codecs();
  const { token, pack } = writer(algorithm, available);
  const mostBytes = (packed: Bytes) => Math.min(maxBytes, Math.max(freeBytes, packed.byteLength * maxExpansion));
  const packIf = (message: WireMessage): Promise<void> | undefined => {
    const { body, headers } = message;
    if (body === null || body.byteLength < threshold || body.byteLength > maxBytes) return undefined;
    return pack(body).then((packed) => {
      if (packed.byteLength >= body.byteLength || body.byteLength > mostBytes(packed)) return;
      message.body = packed;
      headers[header] = headers[header] === undefined ? token : `${headers[header]}, ${token}`;
    });
  };
  return {
    name: "compress",
    outgoing(message) {
      if (message.headers[header] === undefined) return packIf(message);
      return packedByPublisher(message, available, maxBytes).then((packed) => (packed ? undefined : packIf(message)));
    },
    incoming(message) {
      const { body, headers } = message;
      if (body === null || outermost(headers[header]) === undefined) return undefined;
      // All layers together have the limit of one.
      return unpackAll(message, available, mostBytes(body));
    },
  };
}

/** @throws SluiceError `UNSUPPORTED`, `CONFIG` */
export function writer(algorithm: Algorithm, available: ReturnType<typeof codecs>): Codec {
  const codec = Object.hasOwn(available, algorithm) ? available[algorithm] : undefined;
  if (codec) return codec;
  if (algorithm === "zstd") {
    throw new SluiceError(
      "UNSUPPORTED",
      `compress: Node ${process.version} has no zstd; use Node 22.15 or newer, or gzip or brotli`,
    );
  }
  throw new SluiceError("CONFIG", `compress: algorithm is ${String(algorithm)}; use "gzip", "brotli" or "zstd"`);
}

interface Encoding {
  readonly algorithm: Algorithm;
  /** What is left when it is undone. */
  readonly rest: string | undefined;
}

/** The encoding that was applied last, when it is one of ours. */
function outermost(encodings: string | undefined): Encoding | undefined {
  if (encodings === undefined) return undefined;
  const list = encodings.split(",").map((each) => each.trim());
  const last = list.pop()?.toLowerCase() ?? "";
  const algorithm = Object.hasOwn(tokens, last) ? tokens[last] : undefined;
  return algorithm && { algorithm, rest: list.length > 0 ? list.join(", ") : undefined };
}

/** Takes off what the header says and the body is not, and answers whether the body is packed. */
async function packedByPublisher(
  message: WireMessage,
  available: ReturnType<typeof codecs>,
  maxBytes: number,
): Promise<boolean> {
  for (;;) {
    const encoding = outermost(message.headers[header]);
    if (!encoding) return false;
    if (message.body !== null && (await isPacked(message.body, available[encoding.algorithm], maxBytes))) return true;
    setEncodings(message, encoding.rest);
  }
}

/** n.b. Whether a body is brotli's only its reader can say; a short text may be read as nothing at all. */
async function isPacked(body: Bytes, codec: Codec | undefined, maxBytes: number): Promise<boolean> {
  if (!codec) return true;
  if (codec.begins) return Buffer.from(body.subarray(0, 4)).toString("hex").startsWith(codec.begins);
  return codec.unpack(body, maxBytes).then((inner) => inner.byteLength > 0, isTooLarge);
}

function isTooLarge(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "ERR_BUFFER_TOO_LARGE";
}

function setEncodings({ headers }: WireMessage, encodings: string | undefined): void {
  if (encodings === undefined) delete headers[header];
  else headers[header] = encodings;
}

async function unpackAll(message: WireMessage, available: ReturnType<typeof codecs>, maxBytes: number): Promise<void> {
  for (let layers = 0; ; layers++) {
    const encoding = outermost(message.headers[header]);
    if (!encoding || message.body === null) return;
    if (layers === mostLayers) throw refused(message, `is packed more than ${mostLayers} times`);
    const { algorithm, rest } = encoding;
    message.body = await unpack(message, message.body, algorithm, available[algorithm], maxBytes);
    setEncodings(message, rest);
  }
}

async function unpack(
  message: WireMessage,
  body: Bytes,
  algorithm: Algorithm,
  codec: Codec | undefined,
  maxBytes: number,
): Promise<Bytes> {
  if (!codec) {
    throw refused(message, `is packed with ${algorithm}, which Node ${process.version} lacks; use Node 22.15 or newer`);
  }
  try {
    return await codec.unpack(body, maxBytes);
  } catch (cause) {
    const limits = `of ${body.byteLength} bytes expands to more than ${maxBytes}; raise maxBytes or maxExpansion if it should`;
    throw refused(
      message,
      isTooLarge(cause) ? limits : `is damaged, or of several frames: it cannot be read as ${algorithm}`,
      cause,
    );
  }
}

function refused({ id, topic }: WireMessage, what: string, cause?: unknown): SluiceError {
  const text = `compress: the body of message ${id} of topic "${topic}" ${what}`;
  return new SluiceError("INVALID_PAYLOAD", text, cause === undefined ? {} : { cause });
}
