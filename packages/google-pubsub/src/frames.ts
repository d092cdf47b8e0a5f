/** gRPC's framing: a byte that says whether the message is compressed, its length in four, and the message. */
const headBytes = 5;

export function frame(message: Uint8Array): Buffer {
  const framed = Buffer.allocUnsafe(headBytes + message.length);
  framed.writeUInt8(0, 0);
  framed.writeUInt32BE(message.length, 1);
  framed.set(message, headBytes);
  return framed;
}

/** Puts messages together from chunks of any size. */
export class Deframer {
  #chunks: Buffer[] = [];
  #bytes = 0;

  push(chunk: Buffer): readonly Buffer[] {
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
    const messages: Buffer[] = [];
    for (let message = this.#next(); message; message = this.#next()) messages.push(message);
    return messages;
  }

  #next(): Buffer | undefined {
    if (this.#bytes < headBytes) return undefined;
    const head = this.#joined(headBytes);
    const length = head.readUInt32BE(1);
    if (this.#bytes < headBytes + length) return undefined;
    const all = this.#joined(headBytes + length);
    const rest = all.subarray(headBytes + length);
    const others = this.#chunks.slice(1);
    this.#chunks = rest.length > 0 ? [rest, ...others] : others;
    this.#bytes -= headBytes + length;
    return all.subarray(headBytes, headBytes + length);
  }

  /** The first chunk, made so long. n.b. only when needed: a large message comes in hundreds of chunks. */
  #joined(length: number): Buffer {
    const [first = Buffer.alloc(0)] = this.#chunks;
    if (first.length >= length) return first;
    const all = Buffer.concat(this.#chunks);
    this.#chunks = [all];
    return all;
  }
}
