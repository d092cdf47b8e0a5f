import { type Issue, SluiceError } from "./errors.ts";

/**
 * Standard Schema v1 (https://standardschema.dev), the part that Sluice uses, so that core needs no dependency. zod, valibot,
 * arktype and others implement it. `Input` is what a producer gives, `Output` what a handler gets.
 */
export interface StandardSchema<Input = unknown, Output = Input> {
  readonly "~standard": {
    readonly version: 1;
    readonly vendor: string;
    readonly validate: (value: unknown) => SchemaResult<Output> | Promise<SchemaResult<Output>>;
    readonly types?: { readonly input: Input; readonly output: Output } | undefined;
  };
}

export type SchemaResult<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | { readonly issues: readonly SchemaIssue[] };

export interface SchemaIssue {
  readonly message: string;
  readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined;
}

/**
 * Runs a schema; synchronous when the schema is. `what` begins the message of the error.
 * @throws SluiceError `INVALID_PAYLOAD` with `issues`.
 */
export function validate<Output>(
  schema: StandardSchema<unknown, Output>,
  value: unknown,
  what: string,
): Output | Promise<Output> {
  const result = schema["~standard"].validate(value);
  return result instanceof Promise ? result.then((late) => unwrap(late, what)) : unwrap(result, what);
}

function unwrap<Output>(result: SchemaResult<Output>, what: string): Output {
  if (!result.issues) return result.value;
  const issues = result.issues.map(toIssue);
  const shown = issues.slice(0, 3).map((issue) => (issue.path ? `${issue.path}: ${issue.message}` : issue.message));
  const more = issues.length > shown.length ? ` (and ${issues.length - shown.length} more)` : "";
  throw new SluiceError("INVALID_PAYLOAD", `${what} fails its schema: ${shown.join("; ")}${more}`, { issues });
}

function toIssue(issue: SchemaIssue): Issue {
  const path = (issue.path ?? []).map((part) => String(typeof part === "object" ? part.key : part));
  return { path: path.join("."), message: issue.message };
}
