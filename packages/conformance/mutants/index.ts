import { breaking } from "./breaking.ts";
import { connecting } from "./connecting.ts";
import { fleeting } from "./fleeting.ts";
import { foreign } from "./foreign.ts";
import type { Mutant } from "./mutant.ts";
import { looking } from "./looking.ts";
import { moving } from "./moving.ts";
import { movingGroups } from "./moving-groups.ts";
import { opening } from "./opening.ts";
import { receiving } from "./receiving.ts";
import { sending } from "./sending.ts";
import { sharing } from "./sharing.ts";

/** Every defect that the kit must see. */
export const mutants: readonly Mutant[] = [
  ...sending,
  ...moving,
  ...receiving,
  ...sharing,
  ...connecting,
  ...opening,
  ...foreign,
  ...fleeting,
  ...breaking,
  ...looking,
  ...movingGroups,
];
