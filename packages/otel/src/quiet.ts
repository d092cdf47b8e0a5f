import { context as otelContext, createContextKey, ROOT_CONTEXT } from "@opentelemetry/api";

/** n.b. the SDK's own key: keys are symbols of the whole process, so it is reached without depending on the SDK. */
const suppressed = ROOT_CONTEXT.setValue(createContextKey("OpenTelemetry SDK Context Key SUPPRESS_TRACING"), true);

/** Runs something where instrumentations of client libraries make no spans, and leave our headers as they are. */
export function quietly<T>(run: () => T): T {
  return otelContext.with(suppressed, run);
}

/** The same object with all of its methods run quietly, and some of them by others. Nothing of it is changed. */
export function quiet<T extends object>(target: T, instead: Partial<T>): T {
  const methods = new Map<PropertyKey, unknown>();
  // n.b. over an empty heir: what a frozen object has of its own, a proxy of it may not answer otherwise.
  return new Proxy<T>(Object.create(target), {
    get(_heir, name) {
      if (Object.hasOwn(instead, name)) return Reflect.get(instead, name);
      const value: unknown = Reflect.get(target, name);
      if (typeof value !== "function") return value;
      let method = methods.get(name);
      if (method === undefined) {
        method = (...given: unknown[]): unknown => quietly(() => Reflect.apply(value, target, given));
        methods.set(name, method);
      }
      return method;
    },
  });
}
