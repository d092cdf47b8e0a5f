import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { request } from "node:https";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { Readable } from "node:stream";
import { promisify } from "node:util";
import type { RegistryFetch } from "@sluice/schema/registry";
import { javaOrInstall } from "../brokers/native-kafka.ts";

const run = promisify(execFile);

/** What a server shows, and what its clients must trust. */
export interface Certificate {
  readonly pfx: Buffer;
  readonly passphrase: string;
  readonly ca: string;
}

/** Self-signed, for 127.0.0.1. */
export async function selfSigned(): Promise<Certificate> {
  const keytool = join(dirname(await javaOrInstall(() => {})), "keytool");
  const directory = await mkdtemp(join(tmpdir(), "sluice-registry-tls-"));
  try {
    const [store, text] = [join(directory, "keys.p12"), join(directory, "certificate.pem")];
    const passphrase = "for-a-test";
    const common = ["-keystore", store, "-storetype", "PKCS12", "-storepass", passphrase, "-alias", "registry"];
    const names = ["-dname", "CN=127.0.0.1", "-ext", "SAN=ip:127.0.0.1"];
    await run(keytool, ["-genkeypair", "-keyalg", "RSA", "-keysize", "2048", "-validity", "2", ...names, ...common]);
    await run(keytool, ["-exportcert", "-rfc", "-file", text, ...common]);
    return { pfx: await readFile(store), passphrase, ca: await readFile(text, "utf8") };
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** A `fetch` with TLS settings of its own, as a user of the client may write one. */
export function trusting(ca: string): RegistryFetch {
  return (url, { body, headers, method = "GET", signal }) =>
    new Promise((resolve, reject) => {
      const options = { ca, method, headers: { ...(headers as Record<string, string>) }, ...(signal && { signal }) };
      const call = request(url, options, (answer) => {
        const { statusCode: status = 500 } = answer;
        resolve(new Response(Readable.toWeb(answer) as ReadableStream, { status }));
      });
      call.once("error", reject);
      call.end(body);
    });
}
