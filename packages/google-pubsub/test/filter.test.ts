import { emptyHeaders, type Filter } from "@sluice/core/driver";
import { describe, expect, test } from "vitest";
import { matches, toExpression } from "../src/filter.ts";

const of = (all: Record<string, string>) => Object.assign(emptyHeaders(), all);

describe("filter", () => {
  test.each<readonly [Filter, string]>([
    [{ region: "eu" }, 'attributes."region" = "eu"'],
    [{ region: ["eu", "us"] }, '(attributes."region" = "eu" OR attributes."region" = "us")'],
    [{ type: { prefix: "order." } }, 'hasPrefix(attributes."type", "order.")'],
    [{ a: "1", b: 'say "\\"' }, 'attributes."a" = "1" AND attributes."b" = "say \\"\\\\\\""'],
  ])("%j", (filter, expression) => {
    expect(toExpression(filter)).toBe(expression);
  });

  test("what the language cannot say is left to us", () => {
    expect(toExpression(undefined)).toBeUndefined();
    expect(toExpression({ a: "v".repeat(300) })).toBeUndefined();
    expect(toExpression({ "goog-a": "1" })).toBeUndefined();
    expect(toExpression({ a: [] })).toBeUndefined();
  });

  test.each<readonly [Filter, Record<string, string>, boolean]>([
    [{ a: "1" }, { a: "1", b: "2" }, true],
    [{ a: "1" }, { a: "2" }, false],
    [{ a: "1" }, {}, false],
    [{ a: ["1", "2"] }, { a: "2" }, true],
    [{ a: [] }, { a: "2" }, false],
    [{ a: { prefix: "x" } }, { a: "xy" }, true],
    [{ a: { prefix: "x" }, b: "1" }, { a: "xy" }, false],
  ])("%j of %j: %s", (filter, headers, passes) => {
    expect(matches(filter, of(headers))).toBe(passes);
  });
});
