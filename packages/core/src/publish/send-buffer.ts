import { Deque } from "./deque.ts";
import type { Entry } from "./entry.ts";

/** A bound on messages and bytes together. */
class Room {
  readonly #messages: number;
  readonly #bytes: number;
  messages = 0;
  bytes = 0;

  constructor(messages: number, bytes: number) {
    this.#messages = messages;
    this.#bytes = bytes;
  }

  /** One above the bytes fits when it is alone. */
  fits(bytes: number): boolean {
    return this.messages < this.#messages && (this.messages === 0 || this.bytes + bytes <= this.#bytes);
  }

  enter(bytes: number): void {
    this.messages++;
    this.bytes += bytes;
  }

  leave(bytes: number): void {
    this.messages--;
    this.bytes -= bytes;
  }
}

/**
 * Back-pressure: room for what is queued or sent and unconfirmed, and behind it a line of callers, first come, first served. The
 * line is bounded too (8 × the messages, 2 × the bytes), or callers that do not await would fill the memory in an outage.
 */
export class SendBuffer {
  readonly #room: Room;
  readonly #lineRoom: Room;
  readonly #line = new Deque<Entry>();

  constructor(bound: { readonly messages: number; readonly bytes: number }) {
    this.#room = new Room(bound.messages, bound.bytes);
    this.#lineRoom = new Room(bound.messages * 8, bound.bytes * 2);
  }

  /** How many wait in the line. */
  get waiting(): number {
    return this.#lineRoom.messages;
  }

  /** Finds a place for it: `none` when the line is full as well. */
  enter(entry: Entry): Entry["place"] {
    const { bytes } = entry;
    if (entry.options.internal) return (entry.place = "queue");
    if (this.waiting === 0 && this.#room.fits(bytes)) {
      this.#room.enter(bytes);
      return (entry.place = "queue");
    }
    if (!this.#lineRoom.fits(bytes)) return "none";
    this.#lineRoom.enter(bytes);
    this.#line.push(entry);
    return (entry.place = "line");
  }

  /** The first of the line, if it fits by now. */
  next(): Entry | undefined {
    let entry = this.#line.first();
    for (; entry?.settled; entry = this.#line.first()) this.#line.shift();
    if (!entry || !this.#room.fits(entry.bytes)) return undefined;
    this.#line.shift();
    this.#lineRoom.leave(entry.bytes);
    this.#room.enter(entry.bytes);
    entry.place = "queue";
    return entry;
  }

  /** It is settled. One that waits in the line stays there until its turn or `purge`. */
  leave(entry: Entry): void {
    if (entry.place === "line") this.#lineRoom.leave(entry.bytes);
    else if (entry.place === "queue" && !entry.options.internal) this.#room.leave(entry.bytes);
  }

  purge(): void {
    this.#line.keep((entry) => !entry.settled);
  }
}
