export type { AtMostOnceCapabilities, PortableCapabilities } from "./capabilities.ts";
export { fromUrl } from "./from-url.ts";
export type { FromUrlOptions } from "./from-url.ts";
