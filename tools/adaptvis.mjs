// `npm run -s adaptvis -- ARGS`: the command from a checkout. Builds first where the sources changed; stdout belongs to the command.

import process from "node:process";
import { build, isBuilt } from "./build.mjs";

if (isBuilt() || (await built())) await import("../dist/cli.js");

async function built() {
  try {
    await build();
    return true;
  } catch {
    process.stderr.write("adaptvis: the sources do not build (see above)\n"); // esbuild has printed why
    process.exitCode = 1;
    return false;
  }
}
