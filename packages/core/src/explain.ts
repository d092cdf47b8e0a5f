import type { Middleware } from "./middleware.ts";

/** The name of a middleware, as `explain` and errors show it. */
export function nameOf(middleware: { readonly name: string }): string {
  return middleware.name || "(anonymous)";
}

/** What reads the bytes, in its order. */
export function readers({ wire = [] }: Pick<Middleware, "wire">): string[] {
  return wire
    .filter((each) => each.incoming !== undefined)
    .map(nameOf)
    .toReversed();
}

/** The way of a message out and in, in words. */
export function explain(driver: string, middleware: Middleware): string {
  const { publish = [], delivery = [], attempt = [], batch = [], wire = [] } = middleware;
  const writers = wire.filter((each) => each.outgoing !== undefined).map(nameOf);
  const out = ["schema", ...publish.map(nameOf), "codec", ...writers, "broker"];
  const around = [...attempt.map(nameOf), ...batch.map((each) => `${nameOf(each)} (of batches)`)];
  const reading = [...readers(middleware), "codec", "schema"];
  const into = ["broker", ...delivery.map(nameOf), "retry and dead letter", ...reading, ...around, "handler"];
  return [`${driver} out: ${out.join(" > ")}`, `${driver} in: ${into.join(" > ")}`].join("\n");
}
