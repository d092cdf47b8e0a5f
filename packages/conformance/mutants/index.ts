import { connecting } from "./connecting.ts";
import type { Mutant } from "./mutant.ts";
import { opening } from "./opening.ts";
import { receiving } from "./receiving.ts";
import { sending } from "./sending.ts";
import { sharing } from "./sharing.ts";

/** Every defect that the kit must see. */
export const mutants: readonly Mutant[] = [...sending, ...receiving, ...sharing, ...connecting, ...opening];
