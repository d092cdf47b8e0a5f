import { SluiceError } from "@sluice/core";

interface Host {
  readonly name: string;
  readonly port: number | undefined;
}

/** A URL of a broker, taken apart and decoded. */
export interface Parts {
  /** Lower case, with its colon: `kafka:`. */
  readonly scheme: string;
  readonly username: string | undefined;
  readonly password: string | undefined;
  /** Empty when the URL names none. */
  readonly hosts: readonly Host[];
  /** Without its first slash. */
  readonly path: string;
  readonly query: URLSearchParams;
}

// n.b. not the class URL: it refuses several hosts with ports, and its errors carry the whole text, password included.
const shape = /^([a-z][a-z0-9+.-]*:)(?:\/\/([^/?#]*))?([^?#]*)(?:\?([^#]*))?(#?)/i;

/** @throws SluiceError `CONFIG`, which names the wrong part and never shows user or password */
export function split(text: string): Parts {
  const found = shape.exec(text);
  if (!found) throw wrong("url", "it has no scheme", 'begin with one, as in "kafka://localhost:9092"');
  const [, scheme = "", authority = "", path = "", query = "", fragment] = found;
  const who = scheme.toLowerCase();
  if (fragment)
    throw wrong(who, 'it has a part after "#", which means nothing here', "write %23 for a # of the password");
  const at = authority.lastIndexOf("@");
  // A "/" or "?" in a password ends the authority too early; what follows must not be shown as a host or port.
  if (at < 0 && `${path}${query}`.includes("@")) throw encode(who, "password");
  const [username, ...rest] = at < 0 ? [] : authority.slice(0, at).split(":");
  if (username?.includes("@") || rest.join("").includes("@")) throw encode(who, "password");
  return {
    scheme: who,
    username: username ? decoded(username, who, "user name") : undefined,
    password: rest.length > 0 ? decoded(rest.join(":"), who, "password") : undefined,
    hosts: hostsOf(authority.slice(at + 1), who),
    path: decoded(path.replace(/^\//, ""), who, "path"),
    query: new URLSearchParams(query),
  };
}

function hostsOf(text: string, who: string): readonly Host[] {
  if (text === "") return [];
  return text.split(",").map((each) => {
    const [, name = "", port] = /^(\[[0-9a-fA-F:.]+\]|[^:[\]]*)(?::(.*))?$/.exec(each) ?? [];
    if (!/^(?:\[.+\]|[A-Za-z0-9._-]+)$/.test(name))
      throw wrong(who, `host "${each}" is no name or address`, "use host:port");
    if (port !== undefined && !(/^\d{1,5}$/.test(port) && Number(port) > 0 && Number(port) < 65_536)) {
      throw wrong(who, `the port of host "${name}" is "${port}"`, "use a number from 1 to 65535");
    }
    return { name, port: port === undefined ? undefined : Number(port) };
  });
}

function decoded(part: string, who: string, what: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    throw encode(who, what);
  }
}

function encode(who: string, what: string): SluiceError {
  return wrong(who, `the ${what} is not percent-encoded`, "put it through encodeURIComponent");
}

/** Refuses parts that this scheme gives no meaning: a typing error must not go unnoticed. */
export function only(
  parts: Parts,
  allowed: readonly ("credentials" | "hosts" | "port" | "path")[],
  example: string,
): void {
  const { scheme, username, password, hosts, path } = parts;
  const has = {
    credentials: username !== undefined || password !== undefined,
    hosts: hosts.length > 1,
    port: hosts.some(({ port }) => port !== undefined),
    path: path !== "",
  };
  const words = { credentials: "a user name", hosts: "several hosts", port: "a port", path: `a path, "/${path}"` };
  for (const part of ["credentials", "hosts", "port", "path"] as const) {
    if (has[part] && !allowed.includes(part))
      throw wrong(scheme, `it has ${words[part]}, which means nothing here`, example);
  }
}

export function wrong(who: string, what: string, todo: string, cause?: unknown): SluiceError {
  return new SluiceError(
    "CONFIG",
    `url: ${who === "url" ? "" : `${who} `}${what}; ${todo}`,
    cause === undefined ? {} : { cause },
  );
}
