// `npm run -s isa -- ARGS`: the compile lab from a checkout, compared with the committed baseline. Builds first where the sources changed.
//   Without --baseline, --write-baseline, --no-robustness or --help it compares with tools/isa/baseline.json.

import { dirname, join, relative } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { build, isBuilt } from "./build.mjs";

const baseline = join(dirname(fileURLToPath(import.meta.url)), "isa", "baseline.json");
const args = process.argv.slice(2);
const hasOwn = ["--baseline", "--write-baseline", "--no-robustness", "--help"].some((name) =>
  args.some((arg) => arg === name || arg.startsWith(`${name}=`)),
);

if (await isReady()) {
  const compared = hasOwn ? [] : ["--baseline", relative("", baseline)];
  process.argv.splice(2, process.argv.length, "isa", ...args, ...compared);
  await import("../dist/cli.js");
}

async function isReady() {
  try {
    if (!isBuilt()) await build();
    return true;
  } catch {
    process.stderr.write("adaptvis: the sources do not build (see above)\n"); // esbuild has printed why
    process.exitCode = 1;
    return false;
  }
}
