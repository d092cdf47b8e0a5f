import type { Declaration, Driver, Resource } from "./driver/index.ts";
import { SluiceError } from "./errors.ts";

/** Which topic and group uses which resource: two that shared one would get each other's messages. */
export class ResourceOwners {
  readonly #driver: Driver;
  readonly #owners = new Map<string, string>();

  constructor(driver: Driver) {
    this.#driver = driver;
  }

  /** @throws SluiceError `CONFIG` naming both topics (or groups) and what they would share */
  claim({ topics }: Declaration): void {
    for (const topic of topics) {
      const owner = `topic "${topic.name}"`;
      this.#claim(owner, this.#driver.topology({ topics: [{ ...topic, groups: [] }] }));
      for (const group of topic.groups) {
        this.#claim(
          `${owner}, group "${group.name}"`,
          this.#driver.topology({ topics: [{ ...topic, groups: [group] }] }),
        );
      }
    }
  }

  #claim(owner: string, resources: readonly Resource[]): void {
    for (const { kind, name, shared } of resources) {
      if (shared) continue;
      const other = this.#owners.get(`${kind} ${name}`);
      if (other === undefined) this.#owners.set(`${kind} ${name}`, owner);
      // A group's topology includes that of its topic.
      else if (other !== owner && !owner.startsWith(`${other}, `)) {
        const text = `${this.#driver.name}: ${other} and ${owner} would both use the ${kind} "${name}"; rename one of them`;
        throw new SluiceError("CONFIG", text);
      }
    }
  }
}
