import { expect, test } from "vitest";
import { Deframer, frame } from "../src/frames.ts";

const messages = ["", "a", "some more", "x".repeat(70_000)].map((text) => Buffer.from(text));
const wire = Buffer.concat(messages.map(frame));

test.each([1, 3, 5, 7, 16_384, wire.length])("messages come whole out of chunks of %i bytes", (size) => {
  const deframer = new Deframer();
  const found: Buffer[] = [];
  for (let at = 0; at < wire.length; at += size) {
    found.push(...deframer.push(wire.subarray(at, at + size)).map((message) => Buffer.from(message)));
  }
  expect(found.map(String)).toEqual(messages.map(String));
});

test("a message that is not all there does not come", () => {
  const deframer = new Deframer();
  expect(deframer.push(frame(Buffer.from("whole")).subarray(0, 9))).toEqual([]);
});
