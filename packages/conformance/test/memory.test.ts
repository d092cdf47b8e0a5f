import { conformance } from "@sluice/conformance/vitest";

conformance(new URL("../../../integration/harnesses/memory.ts", import.meta.url), { profile: "standard" });
