export { defaultPayloadLimits, limited, payloadLimits } from "./limits.ts";
export type { PayloadLimits } from "./limits.ts";
export type { Member, MemberInput, MemberOutput, MemberParts, TopicFormat } from "./member.ts";
export { union } from "./union.ts";
export type { Members, UnionInput, UnionOptions, UnionOutput } from "./union.ts";
export { versioned } from "./versions.ts";
export type { Newest, Upcasts, VersionedOptions, Versions } from "./versions.ts";
