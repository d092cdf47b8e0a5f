/** Shows that every conformance case can fail: `npm run conformance:mutants`. */
await import(new URL("../packages/conformance/mutants/run.ts", import.meta.url).href);
