import type { Headers, Key } from "./driver/index.ts";

/** What a handler sees of a message besides its payload. */
export interface Message {
  readonly topic: string;
  /** Names the message for ever: retries and redrives keep it. Made from broker coordinates for a foreign message without one. */
  readonly id: string;
  readonly key: Key;
  readonly headers: Readonly<Headers>;
  /** When it was first published; `undefined` when the broker does not tell. */
  readonly time: Date | undefined;
  /** Which run of the handler this is for this group, from 1. */
  readonly attempt: number;
  /** How often the broker handed it out, this time included; `undefined` where the broker does not count. */
  readonly deliveries: number | undefined;
  /** How often it was put back from the dead letters. */
  readonly redrives: number;
}
