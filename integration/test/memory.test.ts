import { conformance } from "@sluice/conformance/vitest";

// With as many messages as on the other brokers; the unit project runs the same cases with fewer.
conformance(new URL("../harnesses/memory.ts", import.meta.url), { profile: "standard", title: "memory" });
