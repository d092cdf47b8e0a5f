import { fromBinary } from "@bufbuild/protobuf";
import { type DescriptorProto, FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";

/** A message type of a file, with those inside of it in their order. */
interface Named {
  readonly name: string;
  readonly nested: Named[];
}

/** The message types of a file in their order, as far as their names go. */
export interface MessageNames {
  /** Full name of the message at a path of indexes; `undefined` when there is none. */
  at(indexes: readonly number[]): string | undefined;
  /** The path of a full name. */
  indexesOf(fullName: string): readonly number[] | undefined;
}

/** Of `.proto` text, or of a descriptor in base64. */
export function messageNames(schema: string): MessageNames {
  const { package: prefix, messages } = /^[A-Za-z0-9+/]+=*\s*$/.test(schema)
    ? fromDescriptor(schema)
    : fromText(schema);
  const full = (path: readonly string[]) => [...(prefix === "" ? [] : [prefix]), ...path].join(".");
  return {
    at(indexes) {
      const path: string[] = [];
      let level: readonly Named[] = messages;
      for (const index of indexes) {
        const found = level[index];
        if (!found) return undefined;
        path.push(found.name);
        level = found.nested;
      }
      return full(path);
    },
    indexesOf(fullName) {
      const search = (
        level: readonly Named[],
        path: readonly string[],
        indexes: readonly number[],
      ): readonly number[] | undefined => {
        for (const [index, { name, nested }] of level.entries()) {
          const here = [...indexes, index];
          const found = full([...path, name]) === fullName ? here : search(nested, [...path, name], here);
          if (found) return found;
        }
        return undefined;
      };
      return search(messages, [], []);
    },
  };
}

interface File {
  readonly package: string;
  readonly messages: readonly Named[];
}

function fromDescriptor(base64: string): File {
  const { package: prefix, messageType } = fromBinary(FileDescriptorProtoSchema, Buffer.from(base64, "base64"));
  const named = ({ name, nestedType }: DescriptorProto): Named => ({
    name,
    // What a map makes of its entries is in no text, and has no index.
    nested: nestedType.filter(({ options }) => options?.mapEntry !== true).map(named),
  });
  return { package: prefix, messages: messageType.map(named) };
}

const tokens = /\/\/[^\n]*|\/\*[\s\S]*?(?:\*\/|$)|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|[\w.]+|[^\s\w]/g;

/** n.b. `message` is a keyword only where a statement begins: fields may be called so, too. */
function fromText(text: string): File {
  const words = (text.match(tokens) ?? []).filter((word) => !word.startsWith("//") && !word.startsWith("/*"));
  const messages: Named[] = [];
  const open: (Named | undefined)[] = [];
  let prefix = "";
  for (const [at, word] of words.entries()) {
    const begins = at === 0 || /^[{};]$/.test(words[at - 1] ?? "");
    if (word === "}") open.pop();
    else if (word === "{") open.push(definition(words, at, open, messages));
    else if (word === "package" && begins && open.length === 0) prefix = words[at + 1] ?? "";
  }
  return { package: prefix, messages };
}

/** The message that a brace opens; `undefined` for the brace of something else. */
function definition(
  words: readonly string[],
  brace: number,
  open: readonly (Named | undefined)[],
  messages: Named[],
): Named | undefined {
  const begins = brace < 3 || /^[{};]$/.test(words[brace - 3] ?? "");
  if (words[brace - 2] !== "message" || !begins) return undefined;
  const message: Named = { name: words[brace - 1] ?? "", nested: [] };
  const siblings = open.length === 0 ? messages : open.at(-1)?.nested;
  siblings?.push(message);
  return message;
}
