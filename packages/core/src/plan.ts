import { Declarations } from "./declarations.ts";
import { fromDriver } from "./driver-failure.ts";
import type { Connection, Declaration, Driver, Finding, Resource, Role } from "./driver/index.ts";
import { ResourceOwners } from "./resource-owners.ts";
import type { AnyTopic } from "./topic.ts";

/** What one role must be allowed to do with one resource, in the broker's words. */
export interface Permission {
  readonly kind: string;
  readonly name: string;
  readonly actions: readonly string[];
}

/** What must exist on the broker, and who needs which rights on it: enough for a review, Terraform, or a least-privilege policy. */
export interface Plan {
  readonly resources: readonly Resource[];
  /** `provision`: makes what is missing. `publish` and `consume`: what a service needs that only does that. */
  readonly permissions: Readonly<Record<Role, readonly Permission[]>>;
}

/**
 * The plan of topics and of the groups that they name. Pure: needs no connection and no broker.
 * @throws SluiceError `CONFIG` for names that the broker cannot keep apart, or cannot carry
 */
export function plan(driver: Driver, topics: readonly AnyTopic[]): Plan {
  const declarations = new Declarations();
  for (const topic of topics) declarations.addTopic(topic);
  return planOf(driver, declarations.snapshot());
}

/** @internal */
export function planOf(driver: Driver, declaration: Declaration): Plan {
  const resources = driver.topology(declaration);
  new ResourceOwners(driver).claim(declaration);
  const of = (role: Role): readonly Permission[] =>
    resources.flatMap(({ kind, name, actions }) => {
      const needed = actions?.[role] ?? [];
      return needed.length === 0 ? [] : { kind, name, actions: needed };
    });
  return { resources, permissions: { provision: of("provision"), publish: of("publish"), consume: of("consume") } };
}

/** @internal */
export async function compare(
  connection: Connection,
  resources: readonly Resource[],
  signal: AbortSignal = new AbortController().signal,
): Promise<readonly Finding[]> {
  let findings: readonly Finding[];
  try {
    findings = await connection.provision(resources, "verify", signal);
  } catch (error) {
    throw fromDriver(error);
  }
  const told = new Set(findings.map(({ resource }) => nameOf(resource)));
  const fine = resources.filter((resource) => !told.has(nameOf(resource)));
  return [...findings, ...fine.map((resource): Finding => ({ resource, state: "ok", detail: "as planned" }))];
}

function nameOf({ kind, name }: Resource): string {
  return `${kind} ${name}`;
}
