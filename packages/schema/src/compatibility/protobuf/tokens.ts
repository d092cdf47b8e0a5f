import { SluiceError } from "@sluice/core";

const token =
  /(?:\s+|\/\/[^\n]*|\/\*[\s\S]*?\*\/)|("(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|[\w.]+|[{}()[\]<>;,=:+/-])/y;

/** The words and signs of a `.proto` file, one after the other. */
export class Tokens {
  readonly #owner: string;
  readonly #text: string;
  readonly #tokens: string[] = [];
  readonly #places: number[] = [];
  #at: number = 0;

  /** Throws `CONFIG` for what is no token, such as a string without its end. */
  constructor(text: string, owner: string) {
    this.#owner = owner;
    this.#text = text;
    const reader = new RegExp(token);
    while (reader.lastIndex < text.length) {
      const place = reader.lastIndex;
      const found = reader.exec(text);
      if (found === null) throw this.#invalid(place, `${JSON.stringify(text[place])} cannot stand there`);
      if (found[1] === undefined) continue;
      this.#tokens.push(found[1]);
      this.#places.push(place);
    }
  }

  /** The next token, or one further ahead; empty at the end. */
  peek(ahead: number = 0): string {
    return this.#tokens[this.#at + ahead] ?? "";
  }

  next(): string {
    const found = this.peek();
    if (found === "") throw this.invalid("it ends too early");
    this.#at += 1;
    return found;
  }

  /** Takes the token if it is next. */
  take(wanted: string): boolean {
    if (this.peek() !== wanted) return false;
    this.#at += 1;
    return true;
  }

  /** Throws `CONFIG` if something else comes. */
  expect(wanted: string): void {
    if (!this.take(wanted)) throw this.invalid(`"${wanted}" is missing before ${JSON.stringify(this.peek())}`);
  }

  /** Throws `CONFIG` for what is no name. */
  name(): string {
    const found = this.next();
    if (!/^\.?[A-Za-z_][\w.]*$/.test(found)) throw this.invalid(`${JSON.stringify(found)} is no name`);
    return found;
  }

  /** Over a block in braces or brackets that comes next. */
  skipBlock(): void {
    let depth = 0;
    do {
      const found = this.next();
      if (found === "{" || found === "[") depth += 1;
      if (found === "}" || found === "]") depth -= 1;
    } while (depth > 0);
  }

  /** Over a statement, with its blocks, up to its semicolon. */
  skipStatement(): void {
    while (this.peek() !== ";") {
      if (this.peek() === "{" || this.peek() === "[") this.skipBlock();
      else this.next();
    }
    this.expect(";");
  }

  /** Names the line where reading stands. */
  invalid(problem: string): SluiceError {
    return this.#invalid(this.#places[Math.max(0, this.#at - 1)] ?? 0, problem);
  }

  #invalid(place: number, problem: string): SluiceError {
    const line = this.#text.slice(0, place).split("\n").length;
    return new SluiceError(
      "CONFIG",
      `compatibility: ${this.#owner} is not a .proto file: line ${line}: ${problem}; correct it`,
    );
  }
}
