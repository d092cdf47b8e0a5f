import { conformance } from "@sluice/conformance/vitest";

// Every case with few messages; the integration project sends as many as on the other brokers.
conformance(new URL("../../../integration/harnesses/memory.ts", import.meta.url), {
  profile: "standard",
  sizes: "smoke",
});
