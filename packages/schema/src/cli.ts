#!/usr/bin/env node
import { readFileSync } from "node:fs";
import { contractsCommand } from "./contracts/command.ts";

// One folder up, from the sources and from what is built of them.
const manifest = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as { version: string };

process.exitCode = await contractsCommand(process.argv.slice(2), {
  directory: process.cwd(),
  version: manifest.version,
  colours: process.stdout.isTTY === true && (process.env["NO_COLOR"] ?? "") === "",
  write: (text) => void process.stdout.write(text),
  writeError: (text) => void process.stderr.write(text),
});
