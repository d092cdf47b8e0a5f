import { SluiceError } from "@sluice/core";

/** Loads an optional peer. @throws SluiceError `CONFIG`, which names the package to install */
export async function load<Module>(scheme: string, name: string, importer: () => Promise<Module>): Promise<Module> {
  try {
    return await importer();
  } catch (error) {
    const { code, message } = error as { readonly code?: string; readonly message?: string };
    // n.b. the same code when the adapter is there, and something that it imports is missing.
    const missing = code === "ERR_MODULE_NOT_FOUND" && message?.includes(`'${name}'`);
    const text = missing
      ? `url: ${scheme} needs the package ${name}, which is not installed; run: npm install ${name}`
      : `url: ${scheme} the package ${name} cannot be loaded: ${message ?? String(error)}; install it again`;
    throw new SluiceError("CONFIG", text, { cause: error });
  }
}
