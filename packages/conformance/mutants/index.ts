import { connecting } from "./connecting.ts";
import type { Mutant } from "./mutant.ts";
import { receiving } from "./receiving.ts";
import { sending } from "./sending.ts";

/** Every defect that the kit must see. */
export const mutants: readonly Mutant[] = [...sending, ...receiving, ...connecting];
