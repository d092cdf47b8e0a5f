import { isUtf8 } from "node:buffer";
import type { PayloadLimits } from "../limits.ts";
import { Unreadable } from "../unreadable.ts";

/** Reads a body from its first byte to its last. Never past the end, and never a count or a length that the limits do not allow. */
export class Cursor {
  readonly #body: Buffer;
  readonly #limits: PayloadLimits;
  #at = 0;
  #depth = 0;
  #elements = 0;
  // The 64 bits of the varint that was read last, in 28 + 28 + 8: numbers are faster than one bigint.
  #low = 0;
  #middle = 0;
  #high = 0;

  constructor(body: Uint8Array, start: number, limits: PayloadLimits) {
    this.#body = Buffer.from(body.buffer, body.byteOffset, body.byteLength);
    this.#at = start;
    this.#limits = limits;
  }

  /** Bytes that nobody has read. */
  get left(): number {
    return this.#body.length - this.#at;
  }

  /** Into a record, array or map. n.b. not left again when reading fails: then the cursor is thrown away. */
  enter(): void {
    if (++this.#depth > this.#limits.depth) throw new Unreadable(`more than ${this.#limits.depth} levels of nesting`);
  }

  leave(): void {
    this.#depth--;
  }

  boolean(): boolean {
    const byte = this.#body[this.#skip(1)];
    if (byte === 0 || byte === 1) return byte === 1;
    throw new Unreadable("a boolean that is neither 0 nor 1");
  }

  int(): number {
    const value = this.number();
    if (value === (value | 0)) return value;
    throw new Unreadable("a number of more than 32 bits");
  }

  /** A long that must be a safe integer. */
  number(): number {
    const byte = this.#body[this.#at];
    // Most counts, lengths and indexes have one byte.
    if (byte !== undefined && byte < 0x80) {
      this.#at++;
      return (byte >>> 1) ^ -(byte & 1);
    }
    this.#varint();
    if (this.#high === 0 && this.#middle < 0x200_0000) {
      const zigzag = this.#low + this.#middle * 0x1000_0000;
      return zigzag % 2 === 0 ? zigzag / 2 : -(zigzag + 1) / 2;
    }
    const value = this.#bigint();
    const number = Number(value);
    if (Number.isSafeInteger(number)) return number;
    throw new Unreadable("a long beyond ±(2^53 − 1); read longs as bigint");
  }

  bigint(): bigint {
    this.#varint();
    return this.#bigint();
  }

  float(): number {
    return this.#body.readFloatLE(this.#skip(4));
  }

  double(): number {
    return this.#body.readDoubleLE(this.#skip(8));
  }

  /** A copy: the body may be a part of a larger buffer. */
  fixed(length: number): Buffer {
    const start = this.#skip(length);
    return Buffer.from(this.#body.subarray(start, this.#at));
  }

  bytes(): Buffer {
    return this.fixed(this.#length());
  }

  text(): string {
    const start = this.#skip(this.#length());
    if (!isUtf8(this.#body.subarray(start, this.#at))) throw new Unreadable("text that is not UTF-8");
    return this.#body.toString("utf8", start, this.#at);
  }

  /** Of a union or an enum. */
  index(count: number): number {
    const value = this.number();
    if (value >= 0 && value < count) return value;
    throw new Unreadable(`index ${value} of ${count}`);
  }

  /** How many items the next block of an array or a map has; 0 = no more. Counted against the limit before anything is read. */
  block(): number {
    const count = this.number();
    if (count < 0) this.#length();
    this.#elements += Math.abs(count);
    if (this.#elements <= this.#limits.elements) return Math.abs(count);
    throw new Unreadable(`${this.#elements} elements or more, above the limit of ${this.#limits.elements}`);
  }

  /** @throws Unreadable when bytes are left */
  end(): void {
    if (this.left > 0) throw new Unreadable(`${this.left} bytes behind the value`);
  }

  #length(): number {
    const length = this.number();
    if (length >= 0 && length <= this.left) return length;
    throw new Unreadable(`a length of ${length} bytes where ${this.left} are left`);
  }

  /** Over so many bytes, and where they begin. */
  #skip(bytes: number): number {
    const start = this.#at;
    if (bytes > this.left) throw new Unreadable("the body ends too early");
    this.#at += bytes;
    return start;
  }

  #bigint(): bigint {
    const zigzag = BigInt(this.#low) | (BigInt(this.#middle) << 28n) | (BigInt(this.#high) << 56n);
    return (zigzag >> 1n) ^ -(zigzag & 1n);
  }

  #varint(): void {
    this.#low = this.#septets(4);
    this.#middle = this.#more ? this.#septets(4) : 0;
    this.#high = this.#more ? this.#septets(2) : 0;
    if (this.#more || this.#high > 0xff) throw new Unreadable("a number of more than 64 bits");
  }

  #more = false;

  #septets(count: number): number {
    let value = 0;
    for (let shift = 0; shift < count * 7; shift += 7) {
      const byte = this.#body[this.#at];
      if (byte === undefined) throw new Unreadable("the body ends too early");
      this.#at++;
      value |= (byte & 0x7f) << shift;
      this.#more = byte > 0x7f;
      if (!this.#more) break;
    }
    return value;
  }
}
