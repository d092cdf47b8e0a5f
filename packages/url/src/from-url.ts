import { isSluiceError, SluiceError } from "@sluice/core";
import { type Driver, DriverError } from "@sluice/core/driver";
import {
  type AtMostOnceCapabilities,
  type AnyDriver,
  atMostOnce,
  portable,
  type PortableCapabilities,
} from "./capabilities.ts";
import { split, wrong } from "./parts.ts";
import { schemes } from "./schemes.ts";

/** Options of {@link fromUrl}. */
export interface FromUrlOptions {
  /** Takes brokers that lose messages, too: required for `redis+pubsub:`. The bus then has broadcasts only. */
  readonly delivery?: "at-most-once";
}

/**
 * The driver that a URL names, with the options in its query: `connect(await fromUrl(process.env.BROKER_URL))`. Loads the
 * adapter's package, which has to be installed beside this one. `undefined` is taken for its error message.
 *
 * @throws SluiceError `CONFIG` when the URL is missing or one of its parts is wrong (the message names it, and never shows the
 * password), or when the adapter's package is not installed (the message names it)
 */
export function fromUrl(
  url: string | undefined,
  options: FromUrlOptions & { readonly delivery: "at-most-once" },
): Promise<Driver<AtMostOnceCapabilities>>;
export function fromUrl(
  url: string | undefined,
  options?: FromUrlOptions & { readonly delivery?: undefined },
): Promise<Driver<PortableCapabilities>>;
export async function fromUrl(
  url: string | undefined,
  { delivery }: FromUrlOptions = {},
): Promise<Driver<AtMostOnceCapabilities> | Driver<PortableCapabilities>> {
  if (!url)
    throw wrong("url", "there is none", 'set one, for example BROKER_URL="memory:" or "kafka://localhost:9092"');
  const parts = split(url);
  const scheme = schemes.get(parts.scheme);
  if (!scheme) throw wrong(parts.scheme, "is no broker's scheme", `use ${[...schemes.keys()].join(" ")}`);
  if (scheme.delivery === "at-most-once" && delivery !== "at-most-once") {
    throw wrong(
      parts.scheme,
      "loses messages while nobody is connected",
      "say { delivery: 'at-most-once' }, or use redis:",
    );
  }
  const driver = await scheme.driver(parts).catch((error: unknown) => {
    if (isSluiceError(error)) throw error;
    if (error instanceof DriverError) throw new SluiceError("CONFIG", `url: ${error.message}`, { cause: error });
    throw error;
  });
  const methods: AnyDriver = {
    name: driver.name,
    system: driver.system,
    capabilities: driver.capabilities,
    topology: (declaration) => driver.topology(declaration),
    connect: (context) => driver.connect(context),
  };
  return delivery === "at-most-once" ? atMostOnce(methods) : portable(methods);
}
