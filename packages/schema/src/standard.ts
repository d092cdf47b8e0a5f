import {
  type Issue,
  isSluiceError,
  type SchemaIssue,
  type SchemaResult,
  type StandardSchema,
  UnavailableError,
} from "@sluice/core";
import { invalid, reasonOf } from "./errors.ts";

/**
 * Runs a schema; synchronous when the schema is. `what` begins the message of the error.
 * @throws SluiceError `INVALID_PAYLOAD` with the issues' paths
 */
export function check(schema: StandardSchema | undefined, value: unknown, what: string): unknown {
  if (!schema) return value;
  const result = guard(() => schema["~standard"].validate(value), what);
  if (!(result instanceof Promise)) return unwrap(result, what);
  return result.then(
    (late) => unwrap(late, what),
    (error: unknown) => threw(error, what),
  );
}

/** A Standard Schema of a function that answers with issues, or without any. */
export function standard<Input, Output = Input>(
  vendor: string,
  validate: (value: unknown) => SchemaResult<Output> | Promise<SchemaResult<Output>>,
): StandardSchema<Input, Output> {
  return { "~standard": { version: 1, vendor, validate } };
}

/** What follows a schema, whether it answered at once or not. n.b. not "then": a module with that export is taken for a promise. */
export function follow(value: unknown, next: (value: unknown) => unknown): unknown {
  return value instanceof Promise ? value.then(next) : next(value);
}

/** Dotted, as core writes paths. */
function toIssue({ path = [], message }: SchemaIssue): Issue {
  return { path: path.map((part) => String(typeof part === "object" ? part.key : part)).join("."), message };
}

function unwrap(result: SchemaResult<unknown>, what: string): unknown {
  if (!result.issues) return result.value;
  throw invalid(`${what} fails its schema`, result.issues.map(toIssue));
}

function guard<T>(run: () => T, what: string): T {
  try {
    return run();
  } catch (error) {
    return threw(error, what);
  }
}

/** A schema that throws is as final as one that refuses: the same value will make it throw again. Unless what it asks is down. */
function threw(error: unknown, what: string): never {
  if (isSluiceError(error) || error instanceof UnavailableError) throw error;
  throw invalid(what, [{ path: "", message: `its schema threw: ${reasonOf(error)}` }], undefined, error);
}
