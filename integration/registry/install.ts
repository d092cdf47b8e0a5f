import { execFile } from "node:child_process";
import { mkdir, mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { cacheFolder, findProgram, installPackages, isExecutable, lastLine } from "../brokers/install.ts";
import type { Log } from "../brokers/types.ts";

const run = promisify(execFile);

/** The newest version that runs on Java 17. */
export const apicurioVersion = "2.6.13.Final";

/** The unpacked distribution, fetched from Maven's repository on first use. */
export async function apicurioFolder(log: Log): Promise<string> {
  const folder = join(cacheFolder(), `apicurio-${apicurioVersion}`);
  if (await isExecutable(folder)) return folder;
  if (!(await findProgram("mvn"))) await installPackages(["maven", "default-jre-headless"], log);
  await mkdir(cacheFolder(), { recursive: true });
  // Filled aside and renamed when complete: others at the same time see all or nothing.
  const aside = await mkdtemp(`${folder}.part-`);
  try {
    log(`fetching Apicurio Registry ${apicurioVersion} with Maven into ${folder} (once; 142 MB)`);
    await fetchInto(aside);
    await rename(join(aside, "registry"), folder).catch(async (error: unknown) => {
      if (!(await isExecutable(folder))) throw error;
    });
  } catch (error) {
    throw new Error(`Maven could not fetch io.apicurio:apicurio-registry-app:${apicurioVersion}: ${lastLine(error)}`, {
      cause: error,
    });
  } finally {
    await rm(aside, { recursive: true, force: true });
  }
  return folder;
}

async function fetchInto(aside: string): Promise<void> {
  await writeFile(join(aside, "pom.xml"), pom());
  const goal = ["dependency:copy-dependencies", `-DoutputDirectory=${aside}`];
  const limits = { timeout: 900_000, maxBuffer: 64 << 20 };
  await run("mvn", ["-q", "-B", "-f", join(aside, "pom.xml"), ...goal], limits);
  const archive = join(aside, `apicurio-registry-app-${apicurioVersion}-all.tar.gz`);
  const registry = join(aside, "registry");
  await mkdir(registry);
  await run("tar", ["-xzf", archive, "-C", registry], limits);
}

/** n.b. the archive holds every jar: without the exclusion Maven would fetch all of them a second time, one by one. */
function pom(): string {
  return `<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>local</groupId><artifactId>apicurio</artifactId><version>1</version><dependencies>
<dependency><groupId>io.apicurio</groupId><artifactId>apicurio-registry-app</artifactId>
<version>${apicurioVersion}</version><type>tar.gz</type><classifier>all</classifier>
<exclusions><exclusion><groupId>*</groupId><artifactId>*</artifactId></exclusion></exclusions></dependency>
</dependencies></project>\n`;
}
