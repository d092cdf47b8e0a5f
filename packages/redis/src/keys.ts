/** The keys of one script call, each once, by the index that scripts count from one. */
export class Keys {
  readonly list: string[] = [];
  readonly #known = new Map<string, number>();

  /** Several that belong together follow each other; the answer is the first one's index. */
  index(first: string, ...others: readonly string[]): number {
    const known = this.#known.get(first);
    if (known !== undefined) return known;
    const index = this.list.push(first);
    this.#known.set(first, index);
    this.list.push(...others);
    return index;
  }
}
