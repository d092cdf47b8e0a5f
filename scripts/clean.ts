// Removes what `npm run build` made.
import { globSync, rmSync } from "node:fs";

for (const path of globSync(["packages/*/dist", "packages/*/*.tsbuildinfo", "packages/*/temp"])) {
  rmSync(path, { recursive: true, force: true });
}
