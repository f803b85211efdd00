// What the mutation run knows about kernels, from the engine's own definitions: which shader files each is made of, and
// whether a changed text still compiles. Runs in a process of its own, since a GPU driver may end it.

import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, posix } from "node:path";
import process from "node:process";

const probe = `
import { readFileSync, writeFileSync } from "node:fs";
const [inputFile, outputFile] = process.argv.slice(2);
const { adapter: name, shaders, mutants } = JSON.parse(readFileSync(inputFile, "utf8"));
const kernels = new Map();
const seen = new Set();
collect(modules);

const { adapter } = await openNodeAdapter(name);
const device = await adapter.requestDevice({ requiredFeatures: [...adapter.features] });
const bodies = Object.entries(shaders).map(([file, text]) => [file, bodyOf(text)]);
const found = [];
for (const { name, code } of kernels.values()) {
  const files = bodies.filter(([, body]) => code.includes(body)).map(([file]) => file);
  found.push({ name, code, files, problem: await problemOf(code) });
}
const problems = {};
for (const { id, file, text } of mutants) {
  const original = bodyOf(shaders[file]);
  for (const { code, files, problem } of found) {
    if (problem !== undefined || !files.includes(file)) continue;
    problems[id] = await problemOf(code.split(original).join(bodyOf(text)));
    if (problems[id] !== undefined) break;
  }
}
writeFileSync(outputFile, JSON.stringify({ kernels: found.map(({ code, ...kernel }) => kernel), problems }));
process.exit(0);

/** Every kernel that a module's exports hold, at any depth. */
function collect(value) {
  if (typeof value !== "object" || value === null || seen.has(value)) return;
  seen.add(value);
  if (typeof value.name === "string" && typeof value.code === "string" && value.bindings instanceof Map) {
    kernels.set(value.code, value);
    return;
  }
  for (const inner of value instanceof Map ? value.values() : Object.values(value)) collect(inner);
}

/** Directives are moved to the top of a kernel's text. */
function bodyOf(text) {
  return text.replace(/^enable \\w+;$/gm, "").trim();
}

async function problemOf(code) {
  device.pushErrorScope("validation");
  const { messages } = await device.createShaderModule({ code }).getCompilationInfo();
  await device.popErrorScope();
  return messages.find(({ type }) => type === "error")?.message;
}
`;

/**
 * Asks a GPU process about the kernels of a checkout.
 * @param {string} copy the checkout
 * @param {{adapter: string, shaders: Record<string, string>, mutants: {id: number, file: string, text: string}[]}} question
 * @returns {Promise<{kernels: {name: string, files: string[], problem?: string}[], problems: Record<number, string>}>} the
 *   kernels, each with the shader files in it and the reason why the adapter refuses it, and the mutants that do not compile
 */
export async function askKernels(copy, question) {
  const { build } = await import("esbuild");
  const ops = readdirSync(join(copy, "src/gpu/ops"), { recursive: true }).filter((name) => name.endsWith(".ts"));
  const imports = ops.map((name, i) => `import * as ops${i} from "./src/gpu/ops/${name.replaceAll("\\", "/")}";`);
  const program = join(copy, "mutation-kernels.mjs");
  await build({
    stdin: {
      contents: [
        ...imports,
        'import { openNodeAdapter } from "./src/gpu/hosts/adapter.node.ts";',
        `const modules = [${ops.map((_, i) => `ops${i}`)}];`,
        probe,
      ].join("\n"),
      resolveDir: copy,
    },
    bundle: true,
    platform: "node",
    format: "esm",
    packages: "external",
    loader: { ".wgsl": "text" },
    logLevel: "error",
    outfile: program,
  });
  const [input, output] = ["in", "out"].map((name) => join(copy, `mutation-kernels-${name}.json`));
  writeFileSync(input, JSON.stringify(question));
  const { status, signal, stderr } = spawnSync(process.execPath, [program, input, output], { encoding: "utf8" });
  if (status !== 0) throw new Error(`the kernels could not be read (${signal ?? `exit code ${status}`}): ${stderr}`);
  return JSON.parse(readFileSync(output, "utf8"));
}

/**
 * The test files of each kernel and shared shader: test/kernels/NAME.test.ts and NAME-MORE.test.ts, unless another kernel's
 * name fits the file better.
 * @param {readonly string[]} tests paths of the test files
 * @param {readonly string[]} names of kernels and shared shaders
 * @returns {Map<string, string[]>} by name
 */
export function testsByName(tests, names) {
  const byName = new Map(names.map((name) => [name, []]));
  for (const file of tests) {
    const stem = posix.basename(file, ".test.ts");
    const fitting = names.filter((name) => stem === name || stem.startsWith(`${name}-`));
    const owner = fitting.sort((a, b) => b.length - a.length)[0];
    if (owner !== undefined) byName.get(owner).push(file);
  }
  return byName;
}
