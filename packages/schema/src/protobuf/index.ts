export { protobuf } from "./codec.ts";
export type { ProtobufCodec, ProtobufOptions } from "./codec.ts";
