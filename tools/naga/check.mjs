// Translates kernels with naga, the shader compiler of Firefox, Deno and wgpu, to what GPUs' drivers take: MSL for Metal, HLSL for
// Direct3D, GLSL and SPIR-V for OpenGL and Vulkan. Where they are installed, spirv-val and glslangValidator check what naga wrote.

import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

/** What naga translates to, with the extension by which it chooses. */
const BACKENDS = [
  { name: "MSL", extension: "metal" },
  { name: "HLSL", extension: "hlsl" },
  { name: "GLSL", extension: "comp", validator: ["glslangValidator", "-S", "comp"] },
  { name: "SPIR-V", extension: "spv", validator: ["spirv-val", "--target-env", "vulkan1.1"] },
];

/** The oldest versions that have what WebGPU needs, and the bounds checks that wgpu demands. */
const FLAGS = [
  ...["--entry-point", "main", "--shader-stage", "compute"],
  ...["--metal-version", "2.1", "--shader-model", "60", "--profile", "es310", "--spirv-version", "1.3"],
  ...["--index-bounds-check-policy", "Restrict", "--buffer-bounds-check-policy", "Restrict"],
];

/** Directives whose functions naga translates but which it does not know, so that its hosts do not offer the feature. */
const UNKNOWN_DIRECTIVES = /^enable subgroups;$/gm;

/** What a backend's language lacks, by naga's message. */
const LACKING = [{ backend: "GLSL", message: /unsupported width.*Float, width: 2/, reason: "GLSL ES 3.1 has no f16" }];

/** The version of the `naga` on the PATH; undefined where there is none. */
export async function nagaVersion() {
  return (await output("naga", ["--version"]))?.trim();
}

/** The programs on the PATH that check naga's output. */
export async function outputValidators() {
  const names = BACKENDS.flatMap(({ validator }) => validator?.slice(0, 1) ?? []);
  const found = await Promise.all(names.map((name) => output(name, ["--version"])));
  return names.filter((_, index) => found[index] !== undefined);
}

/** Values of overrides that a text leaves open, for kernels of which no pipeline was recorded. */
const OPEN = { u32: 64, i32: 1, f32: 1, bool: true };

/**
 * A pipeline for every text of `kernels` that `pipelines` lack: with the constants of another pipeline of the same name where it
 * has all that the text needs, else with made up ones, which do for translating.
 */
export function pipelinesOfOtherTexts(kernels, pipelines) {
  const texts = new Set(pipelines.map(({ code }) => code));
  const others = kernels.filter(({ code }) => !texts.has(code));
  return others.map(({ name, code, overrides }) => {
    const open = [...overrides].filter(([, { hasDefault }]) => !hasDefault);
    const sibling = pipelines.find(
      ({ name: other, constants }) =>
        other === name &&
        Object.keys(constants).every((key) => overrides.has(key)) &&
        open.every(([key]) => key in constants),
    );
    const constants = sibling?.constants ?? Object.fromEntries(open.map(([key, { type }]) => [key, OPEN[type]]));
    return { name, code, constants };
  });
}

/**
 * Translates pipelines to every language.
 * @param pipelines name, WGSL text and constants of each
 * @param options.validators of {@link outputValidators}; none unless given
 * @returns one result per pipeline
 */
export async function translate(pipelines, { validators = [] } = {}) {
  const folder = await mkdtemp(join(tmpdir(), "adaptvis-naga-"));
  const results = [];
  let next = 0;
  const work = async () => {
    for (let index = next++; index < pipelines.length; index = next++) {
      results[index] = await translateOne(pipelines[index], join(folder, String(index)), validators);
    }
  };
  try {
    await Promise.all(Array.from({ length: availableParallelism() }, work));
    return results;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function translateOne({ name, code, constants }, path, validators) {
  const source = `${path}.wgsl`;
  await writeFile(source, code.replace(UNKNOWN_DIRECTIVES, ""));
  const overrides = Object.entries(constants).flatMap(([key, value]) => ["--override", `${key}=${Number(value)}`]);
  const naga = (outputs) => problemOf("naga", [source, ...outputs, ...FLAGS, ...overrides]);
  const failures = [];
  const lacking = [];
  const written = BACKENDS.map(({ extension }) => `${path}.${extension}`);
  // Most pipelines pass; only after a failure each language is tried by itself.
  const isWhole = (await naga(written)) === undefined;
  for (const [index, { name: backend, validator = [] }] of BACKENDS.entries()) {
    const problem = isWhole ? undefined : await naga([written[index]]);
    const lack = LACKING.find((entry) => entry.backend === backend && entry.message.test(problem ?? ""));
    if (lack !== undefined) lacking.push({ backend, message: lack.reason });
    else if (problem !== undefined) failures.push({ backend, message: problem });
    else if (validators.includes(validator[0])) {
      const fault = await problemOf(validator[0], [...validator.slice(1), written[index]]);
      if (fault !== undefined) failures.push({ backend, message: `${validator[0]}: ${fault}` });
    }
  }
  return { name, hasUnknownDirective: code.search(UNKNOWN_DIRECTIVES) >= 0, failures, lacking };
}

/** What a program printed when it failed; undefined when it did not. */
async function problemOf(program, args) {
  try {
    await run(program, args);
    return undefined;
  } catch (error) {
    return `${error.stdout ?? ""}${error.stderr ?? ""}`.trim() || String(error.message);
  }
}

async function output(program, args) {
  return await run(program, args).then(
    ({ stdout }) => stdout,
    () => undefined,
  );
}
