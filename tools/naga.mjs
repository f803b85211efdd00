// `npm run -s naga [-- --kernel TEXT]`: translates every pipeline of a GPU, and every other kernel text once, with naga, the shader
// compiler of Firefox and Deno, to MSL, HLSL, GLSL and SPIR-V; exit code 1 where one fails. Nothing is executed. It needs `naga` (cargo install naga-cli).

import { mkdtemp, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import process from "node:process";
import { fileURLToPath, pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import esbuild from "esbuild";
import { nagaVersion, outputValidators, pipelinesOfOtherTexts, translate } from "./naga/check.mjs";

const root = dirname(dirname(fileURLToPath(import.meta.url)));

/**
 * Every pipeline that `adaptvis isa` compiles, by its recorder out of the sources, and one per other kernel text.
 * @param filter only kernels whose name contains this
 */
async function allPipelines(filter = "") {
  // Below the root, so that the packages that it imports are found.
  const folder = await mkdtemp(join(root, "node_modules", ".adaptvis-naga-"));
  try {
    const outfile = join(folder, "lab.mjs");
    const entry = `export { labPipelines } from "./src/isa/run-lab.node.ts";
      export { ALL_KERNELS } from "./src/gpu/ops/kernels.ts";
      export { WEIGHT_DTYPES } from "./src/gpu/tensor.ts";`;
    await esbuild.build({
      stdin: { contents: entry, resolveDir: root },
      bundle: true,
      format: "esm",
      platform: "node",
      packages: "external",
      loader: { ".wgsl": "text" },
      logLevel: "warning",
      outfile,
    });
    const lab = await import(pathToFileURL(outfile).href);
    const recorded = lab.labPipelines(lab.WEIGHT_DTYPES).map(({ kernel, constants }) => ({
      name: kernel.name,
      code: kernel.code,
      constants,
    }));
    const others = pipelinesOfOtherTexts(lab.ALL_KERNELS, recorded);
    const wanted = (pipelines) => pipelines.filter(({ name }) => name.includes(filter));
    return { recorded: wanted(recorded), others: wanted(others) };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function report(results, { version, validators, numRecorded }) {
  const lines = [
    `naga ${version}${validators.length > 0 ? `, and ${validators.join(" and ")} on what it writes` : ""}`,
  ];
  const numWithDirective = results.filter(({ hasUnknownDirective }) => hasUnknownDirective).length;
  const each = (kind) =>
    results.flatMap((result) => result[kind].map(({ backend, message }) => `${result.name} (${backend}): ${message}`));
  const numFailed = results.filter(({ failures }) => failures.length > 0).length;
  lines.push(
    `${numRecorded} pipelines of a GPU and ${results.length - numRecorded} other kernel texts: ${results.length - numFailed} pass, ${numFailed} fail`,
  );
  if (numWithDirective > 0) {
    lines.push(
      `${numWithDirective} of them without their "enable subgroups;", which naga does not know: its hosts do not offer subgroups, so that there the others run`,
    );
  }
  for (const [message, count] of counts(each("lacking"))) lines.push(`not expressible, ${count} times: ${message}`);
  for (const [message, count] of counts(each("failures"))) lines.push("", `failed, ${count} times: ${message}`);
  return lines.join("\n");
}

/** How often each text is in a list. */
function counts(texts) {
  const numbers = new Map();
  for (const text of texts) numbers.set(text, (numbers.get(text) ?? 0) + 1);
  return numbers;
}

/** @returns the exit code. */
async function main() {
  let values;
  try {
    ({ values } = parseArgs({ options: { kernel: { type: "string" } } }));
  } catch (error) {
    process.stderr.write(`naga: ${error.message}\nusage: node tools/naga.mjs [--kernel TEXT]\n`);
    return 2;
  }
  const version = await nagaVersion();
  if (version === undefined) {
    process.stderr.write("naga: the program naga is not on the PATH; install it with cargo install naga-cli\n");
    return 1;
  }
  const { recorded, others } = await allPipelines(values.kernel);
  if (recorded.length + others.length === 0) {
    process.stderr.write(`naga: --kernel ${values.kernel}: no kernel's name contains this\n`);
    return 2;
  }
  const validators = await outputValidators();
  const results = await translate([...recorded, ...others], { validators });
  process.stdout.write(`${report(results, { version, validators, numRecorded: recorded.length })}\n`);
  return results.some(({ failures }) => failures.length > 0) ? 1 : 0;
}

process.exitCode = await main();
