// Reads what the pages show: the engine's own lists (describe-kernels.ts), shaders, twins, formulas and the compile lab's baseline.

import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const root = join(here, "..", "..", "..");

/**
 * Everything about the kernels.
 * @param {string} scratchFolder an existing folder for a file that is made on the way
 */
export async function readSources(scratchFolder) {
  const { describeKernels, boundNamed } = await importDescriptions(scratchFolder);
  const shared = readdirSync(join(root, "shaders", "shared")).filter((file) => file.endsWith(".wgsl"));
  return {
    /** @type {ReadonlyMap<string, import("./describe-kernels.ts").DescribedKernel>} */
    kernels: describeKernels(),
    /** @type {(name: string) => import("../../../test/setup/bounds.ts").Bound} */
    boundNamed,
    /** @type {Readonly<Record<string, { tex: string, where: string }>>} */
    formulas: JSON.parse(readText("tools/docs/kernels/formulas.json")),
    /** @type {import("../../../src/isa/baseline.ts").IsaBaseline} */
    baseline: JSON.parse(readText("tools/isa/baseline.json")),
    /** Names of the files that several kernels append, with their texts. */
    shared: new Map(shared.map((file) => [file.slice(0, -".wgsl".length), readText(`shaders/shared/${file}`)])),
  };
}

/** The text of a file of the repository. */
export function readText(path) {
  return readFileSync(join(root, path), "utf8");
}

/** The kernel whose formula, and so whose twin, a kernel has: its own name, or OTHER where its header says "as OTHER". */
export function formulaOwner(name) {
  const [, other] = /^\/\/ Formula: as ([a-z-]+)/m.exec(readText(`shaders/${name}.wgsl`)) ?? [];
  return other === undefined ? name : formulaOwner(other);
}

/** The file of the f64 twin: the kernel's own where it has one. */
export function twinFile(name) {
  const files = readdirSync(join(root, "test", "reference"));
  const owner = [name, formulaOwner(name)].find((each) => files.includes(`${each}.ts`));
  if (owner === undefined) throw new Error(`test/reference has no twin of ${name}.`);
  return `test/reference/${owner}.ts`;
}

/** Names of the shared texts that a compiled text holds, in its order. */
export function appended(code, shared) {
  return [...shared]
    .map(([name, text]) => ({ name, at: code.indexOf(text.replace(/^enable \w+;$/gm, "").trim()) }))
    .filter(({ at }) => at >= 0)
    .sort((a, b) => a.at - b.at)
    .map(({ name }) => name);
}

async function importDescriptions(scratchFolder) {
  const { build } = await import("esbuild");
  const outfile = join(scratchFolder, "describe-kernels.mjs");
  await build({
    absWorkingDir: root,
    entryPoints: [join(here, "describe-kernels.ts")],
    outfile,
    bundle: true,
    platform: "node",
    target: "node20",
    format: "esm",
    packages: "external",
    loader: { ".wgsl": "text" },
    logLevel: "error",
  });
  return await import(pathToFileURL(outfile).href);
}
