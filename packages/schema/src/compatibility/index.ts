export { compatible, type CompatibleOptions } from "./compatible.ts";
export {
  compatibilityLevels,
  type Compatibility,
  type CompatibilityLevel,
  type CompatibilityProblem,
  type SchemaType,
} from "./types.ts";
