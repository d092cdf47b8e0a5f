import { expect, expectTypeOf, test } from "vitest";
import { topic } from "@sluice/core";
import { z } from "zod";
import { type Newest, versioned } from "../src/index.ts";

const v1 = z.object({ name: z.string() });
const v2 = z.object({ first: z.string(), last: z.string().default("") });
const v3 = z.object({ first: z.string(), last: z.string(), at: z.string().transform((text) => new Date(text)) });

test("steps are typed one by one, and the newest version is what both sides see", () => {
  const people = versioned({
    versions: { 1: v1, 2: v2, 3: v3 },
    upcast: {
      1: (old) => ({ first: old.name }),
      2: (old) => ({ first: old.first, last: old.last, at: "2026-01-01" }),
    },
  });
  const People = topic("people", { ...people });
  expectTypeOf(People.types).toEqualTypeOf<
    | {
        readonly input: { first: string; last: string; at: string };
        readonly output: { first: string; last: string; at: Date };
      }
    | undefined
  >();
  expectTypeOf<Newest<{ 9: 1; 10: 1; 8: 1 }>>().toEqualTypeOf<10>();
  expectTypeOf<Newest<{ 1999: 1; 2000: 1 }>>().toEqualTypeOf<2000>();
});

test("a missing step, a wrong step and a step too many do not compile", () => {
  expect(() =>
    versioned({
      versions: { 1: v1, 2: v2, 3: v3 },
      // @ts-expect-error -- the step from 2 to 3 is missing
      upcast: { 1: (old: { name: string }) => ({ first: old.name }) },
    }),
  ).toThrow(
    expect.objectContaining({ code: "CONFIG", message: expect.stringContaining("from version 2 to 3") as string }),
  );
  versioned({
    versions: { 1: v1, 2: v2 },
    // @ts-expect-error -- version 2 has no `nickname`, and needs `first`
    upcast: { 1: (old: { name: string }) => ({ nickname: old.name }) },
  });
  versioned({
    versions: { 1: v1, 2: v2 },
    // @ts-expect-error -- version 1 has no `surname`
    upcast: { 1: (old: { surname: string }) => ({ first: old.surname }) },
  });
  versioned({
    versions: { 1: v1, 2: v2 },
    // @ts-expect-error -- nothing comes after version 2
    upcast: { 1: (old: { name: string }) => ({ first: old.name }), 2: () => ({}) },
  });
});
