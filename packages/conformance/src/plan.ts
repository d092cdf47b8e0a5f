import type { Case, Facts, Profile, SkipReason } from "./case.ts";
import type { CaseContext } from "./context.ts";
import type { Harness } from "./harness.ts";

export type Decision =
  | { readonly kind: "skip"; readonly skip: SkipReason; readonly reason: string }
  | { readonly kind: "invalid"; readonly reason: string }
  | {
      readonly kind: "run";
      readonly tested: "declared" | "refusal";
      readonly run: (context: CaseContext) => Promise<void>;
      /** The issue, where a waiver is in force. */
      readonly waiver: string | undefined;
    };

/** Whether a case runs, as what, or why not. There is no other way past a case. */
export function decide(stated: Case, harness: Harness, facts: Facts, profile: Profile): Decision {
  if (!isSelected(stated.profile, profile)) {
    return { kind: "skip", skip: "profile", reason: `belongs to the ${stated.profile} profile` };
  }
  const environment = harness.environmentSkips?.[stated.id];
  if (environment !== undefined) return { kind: "skip", skip: "environment", reason: environment };
  if (stated.uses?.includes("powerless") && !harness.powerless) {
    return { kind: "skip", skip: "environment", reason: "the harness has no user without rights" };
  }
  if (stated.uses?.includes("control") && harness.environment.keepsData === false) {
    return { kind: "skip", skip: "environment", reason: "the broker keeps its data in memory: a restart empties it" };
  }
  if (stated.uses?.includes("control") && !harness.control) {
    return { kind: "invalid", reason: "the harness has no control over the broker (restart, kill)" };
  }
  if (stated.uses?.includes("cut") && !harness.crash && !harness.upstream && !harness.control) {
    return { kind: "invalid", reason: "the harness has no way to break a connection (crash, upstream, control)" };
  }
  if (stated.uses?.includes("proxy") && !harness.upstream) {
    return { kind: "invalid", reason: "the harness names no upstream address for the proxy" };
  }
  if (!stated.groupless && facts.capabilities.group === "absent") {
    return { kind: "skip", skip: "capability", reason: "needs group" };
  }
  const waiver = waiverOf(stated.id, harness);
  if (!stated.needs || stated.needs.holds(facts)) {
    return { kind: "run", tested: "declared", run: (context) => stated.run(context), waiver };
  }
  const { inverse } = stated;
  if (inverse) return { kind: "run", tested: "refusal", run: (context) => inverse(context), waiver };
  return { kind: "skip", skip: "capability", reason: `needs ${stated.needs.what}` };
}

function isSelected(of: Profile, selected: Profile): boolean {
  if (selected === "fault") return of === "fault";
  return of === "smoke" || of === selected;
}

function waiverOf(id: string, harness: Harness): string | undefined {
  const waiver = harness.waivers?.[id];
  return waiver && Date.parse(waiver.expires) > Date.now() ? waiver.issue : undefined;
}
