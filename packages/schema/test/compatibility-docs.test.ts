import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { differences } from "./pairs/differences.ts";
import { schemaPairs } from "./pairs/index.ts";

/** The formatter breaks lines and changes signs of emphasis: only words count. */
const words = (text: string) => text.replaceAll(/[_*\s]+/g, " ").trim();

it("docs/schemas.md lists every difference to Apicurio Registry", () => {
  const page = readFileSync(new URL("../../../docs/schemas.md", import.meta.url), "utf8");
  const block = /<!-- differences -->([\s\S]*)<!-- \/differences -->/.exec(page)?.[1] ?? "";
  expect(words(block)).toBe(words(differences(schemaPairs)));
});
