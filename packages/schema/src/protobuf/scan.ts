import { type DescField, type DescMessage, ScalarType } from "@bufbuild/protobuf";
import type { PayloadLimits } from "../limits.ts";
import { Unreadable, within } from "../unreadable.ts";

/**
 * Walks over the fields of a message without making anything of them: that every length ends inside of what contains it, how deep
 * messages are nested, and how many fields and items there are.
 * @throws Unreadable with the path of field names
 */
export function scanMessage(descriptor: DescMessage, body: Uint8Array, limits: PayloadLimits): void {
  new Scan(body, limits).message(descriptor, body.length, 1);
}

const wireTypes = { varint: 0, bit64: 1, delimited: 2, group: 3, endGroup: 4, bit32: 5 } as const;

/** A field that JSON is made of is made again for each further time that it is there; writers write it once. */
const mostStructs = 16;

class Scan {
  readonly #body: Uint8Array;
  readonly #limits: PayloadLimits;
  #at = 0;
  #elements = 0;

  constructor(body: Uint8Array, limits: PayloadLimits) {
    this.#body = body;
    this.#limits = limits;
  }

  /** Up to `end`; a group up to its end, whose field number it returns. */
  message(descriptor: DescMessage | undefined, end: number, depth: number, group?: number): void {
    if (depth > this.#limits.depth) throw new Unreadable(`more than ${this.#limits.depth} levels of nesting`);
    let structs = 0;
    while (this.#at < end) {
      const tag = this.#varint(end);
      const number = Math.floor(tag / 8);
      const wireType = tag % 8;
      if (wireType === wireTypes.endGroup && number === group) return;
      const field = fieldOf(descriptor, number);
      if (
        field?.message?.typeName === "google.protobuf.Struct" &&
        ++structs > mostStructs &&
        field.fieldKind === "message"
      ) {
        throw new Unreadable(`field ${field.name} is there more than ${mostStructs} times`);
      }
      this.#count(1);
      try {
        this.#field(field, number, wireType, end, depth);
      } catch (error) {
        throw within(error, field?.name ?? `#${number}`);
      }
    }
    if (group !== undefined) throw new Unreadable("a group that does not end");
  }

  #field(field: DescField | undefined, number: number, wireType: number, end: number, depth: number): void {
    switch (wireType) {
      case wireTypes.varint:
        this.#varint(end);
        return;
      case wireTypes.bit64:
        this.#skip(8, end);
        return;
      case wireTypes.bit32:
        this.#skip(4, end);
        return;
      case wireTypes.group:
        this.message(field?.message, end, depth + 1, number);
        return;
      case wireTypes.delimited:
        this.#delimited(field, this.#varint(end), end, depth);
        return;
      default:
        throw new Unreadable(`wire type ${wireType}`);
    }
  }

  #delimited(field: DescField | undefined, length: number, end: number, depth: number): void {
    const start = this.#at;
    this.#skip(length, end);
    const stop = this.#at;
    if (field === undefined) return;
    if (field.fieldKind === "map") {
      this.#at = start;
      this.#entry(field, stop, depth);
    } else if (field.message) {
      this.#at = start;
      this.message(field.message, stop, depth + 1);
    } else if (field.fieldKind === "list") {
      this.#count(this.#packed(field.listKind === "enum" ? ScalarType.INT32 : field.scalar, start, stop));
    }
  }

  /** Key and value of a map, which are a message without a descriptor. */
  #entry(field: DescField & { fieldKind: "map" }, end: number, depth: number): void {
    while (this.#at < end) {
      const tag = this.#varint(end);
      const isValue = tag === 2 * 8 + wireTypes.delimited && field.message !== undefined;
      if (isValue) this.message(field.message, this.#within(this.#varint(end), end), depth + 1);
      else this.#field(undefined, Math.floor(tag / 8), tag % 8, end, depth);
    }
  }

  /** How many items the bytes are, as far as they can be many. */
  #packed(scalar: ScalarType | undefined, start: number, end: number): number {
    const width = scalar === undefined ? undefined : widths[scalar];
    if (width === undefined) return 0;
    if (width > 0) return Math.floor((end - start) / width);
    let items = 0;
    const most = this.#limits.elements;
    for (let at = start; at < end && items <= most; at++) if ((this.#body[at] ?? 0) < 0x80) items++;
    return items;
  }

  #count(more: number): void {
    this.#elements += more;
    if (this.#elements <= this.#limits.elements) return;
    throw new Unreadable(`more than ${this.#limits.elements} elements`);
  }

  #skip(bytes: number, end: number): void {
    this.#at = this.#within(bytes, end);
  }

  /** Where so many bytes end. */
  #within(bytes: number, end: number): number {
    const left = end - this.#at;
    if (bytes <= left) return this.#at + bytes;
    throw new Unreadable(`a length of ${bytes} bytes where ${left} are left`);
  }

  /** n.b. not exact above 2^53: then it is too long for a length or a tag, and as a value it is only skipped. */
  #varint(end: number): number {
    let value = 0;
    let factor = 1;
    for (let count = 0; count < 10; count++) {
      const byte = this.#at < end ? this.#body[this.#at] : undefined;
      if (byte === undefined) throw new Unreadable("the body ends too early");
      this.#at++;
      value += (byte & 0x7f) * factor;
      if (byte < 0x80) return value;
      factor *= 128;
    }
    throw new Unreadable("a number of more than 64 bits");
  }
}

const fields = new WeakMap<DescMessage, ReadonlyMap<number, DescField>>();

function fieldOf(descriptor: DescMessage | undefined, number: number): DescField | undefined {
  if (!descriptor) return undefined;
  let known = fields.get(descriptor);
  if (!known) {
    known = new Map(descriptor.fields.map((field) => [field.number, field]));
    fields.set(descriptor, known);
  }
  return known.get(number);
}

/** Bytes of an item of a packed list; 0 = a varint; none = never packed. */
const widths: Readonly<Partial<Record<ScalarType, number>>> = {
  [ScalarType.DOUBLE]: 8,
  [ScalarType.FIXED64]: 8,
  [ScalarType.SFIXED64]: 8,
  [ScalarType.FLOAT]: 4,
  [ScalarType.FIXED32]: 4,
  [ScalarType.SFIXED32]: 4,
  [ScalarType.BOOL]: 0,
  [ScalarType.INT32]: 0,
  [ScalarType.INT64]: 0,
  [ScalarType.UINT32]: 0,
  [ScalarType.UINT64]: 0,
  [ScalarType.SINT32]: 0,
  [ScalarType.SINT64]: 0,
};
