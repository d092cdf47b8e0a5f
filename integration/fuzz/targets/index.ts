import type { Target } from "../target.ts";
import { core } from "./core.ts";
import { drivers } from "./drivers.ts";
import { kafkaCodecs } from "./kafka-codecs.ts";
import { registryTarget } from "./registry.ts";
import { schemaTargets } from "./schema.ts";
import { wireTargets } from "./wire.ts";
import { writers } from "./writers.ts";

/** Everything that reads what others wrote. Their order and weights decide which input goes where: append. */
export async function allTargets(): Promise<readonly Target[]> {
  return [
    ...drivers,
    ...core,
    ...(await wireTargets()),
    ...schemaTargets(),
    await registryTarget(),
    ...(await kafkaCodecs()),
    ...writers(),
  ];
}
