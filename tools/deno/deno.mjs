#!/usr/bin/env node
// `npx deno`: runs Deno with the same arguments.

import { spawnSync } from "node:child_process";
import process from "node:process";
import { denoExecutable } from "./executable.mjs";

const executable = denoExecutable();
if (executable === undefined) {
  process.stderr.write(`deno: there is no npm package of Deno for ${process.platform} ${process.arch} here\n`);
  process.exit(1);
}
const { status, signal } = spawnSync(executable, process.argv.slice(2), { stdio: "inherit" });
if (signal !== null) process.kill(process.pid, signal);
process.exit(status ?? 1);
