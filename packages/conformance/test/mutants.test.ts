import assert from "node:assert/strict";
import { describe, test } from "vitest";
import { mutants } from "../mutants/index.ts";
import { catalogue, notApplicable } from "../src/cases/index.ts";

// That every mutant is caught is shown by `npm run conformance:mutants`; here only that the list itself makes sense.
describe("the list of mutants", () => {
  test("names only cases of the catalogue", () => {
    const ids = new Set(catalogue.map((stated) => stated.id));
    const unknown = mutants.flatMap((mutant) => mutant.killedBy.filter((id) => !ids.has(id)));
    assert.deepEqual(unknown, []);
  });

  test("has one defect per name, and at least one case for each", () => {
    assert.equal(new Set(mutants.map((mutant) => mutant.name)).size, mutants.length);
    assert.deepEqual(
      mutants.filter((mutant) => mutant.killedBy.length === 0),
      [],
    );
  });

  test("has a defect for every case", () => {
    const useful = new Set(mutants.flatMap((mutant) => mutant.killedBy));
    const idle = catalogue.filter((stated) => !useful.has(stated.id)).map((stated) => stated.id);
    assert.deepEqual(idle, []);
  });
});

describe("the catalogue", () => {
  test("has every id once", () => {
    const ids = catalogue.map((stated) => stated.id);
    assert.equal(new Set(ids).size, ids.length);
    assert.deepEqual(
      ids.filter((id) => id in notApplicable),
      [],
    );
  });
});
