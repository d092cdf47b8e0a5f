import { isSluiceError } from "@sluice/core";
import { memory } from "@sluice/memory";
import { expect, test } from "vitest";
import { otel } from "../src/index.ts";

/** What is said about options that no type would let through. */
function refusal(options: object): string {
  try {
    otel(memory(), options);
  } catch (error) {
    if (isSluiceError(error, "CONFIG")) return error.message;
    throw error;
  }
  return "taken";
}

test.for([
  [{ parent: "creatoin" }, /otel: parent is "creatoin"; give 'creation' or 'link'/],
  [{ parent: null }, /otel: parent is null/],
  [{ createSpans: "no" }, /otel: createSpans is "no"; give true or false/],
  [{ backlogEvery: "soon" }, /backlogEvery of otel is "soon"/],
  [{ backlogEvery: -1 }, /backlogEvery of otel is -1/],
  [{ most: -1 }, /otel: most is -1; give a whole number from 0/],
  [{ most: 1.5 }, /otel: most is 1.5/],
  [{ most: Number.NaN }, /otel: most is NaN/],
  [{ most: "10" }, /otel: most is "10"/],
  [{ attributes: "tenant" }, /otel: attributes is "tenant"; give an object/],
  [{ attributes: null }, /otel: attributes is null/],
  [{ attributes: ["tenant"] }, /otel: attributes is tenant; give an object/],
  [{ attributes: { tenant: {} } }, /otel: attributes\.tenant is \[object Object\]; give a text, a number/],
  [{ attributes: { tenant: ["a", 1] } }, /otel: attributes\.tenant is a,1/],
  [{ attributes: { "": "a" } }, /otel: attributes\. is "a"/],
] as const)("refused with CONFIG: %j", ([options, words]) => {
  expect(refusal(options)).toMatch(words);
});

test("whatever the types allow is taken", () => {
  const attributes = { tenant: "a", "server.port": 9092, canary: true, zones: ["a", "b"], none: undefined };
  expect(refusal({})).toBe("taken");
  expect(refusal({ parent: "link", createSpans: false, backlogEvery: 0, most: 0, attributes })).toBe("taken");
});
