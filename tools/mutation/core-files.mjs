// Which sources the core run mutates: those that tests of the cpu group reach by imports and that handle no GPU objects, so
// that files may move.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { matcherOf } from "./glob.mjs";

/** Never mutated: code of one host, the command line, the playground, the bench, and the GPU's own. */
const isExcluded = matcherOf(["src/{cli,app,bench,gpu}/**", "src/**/*.{node,browser,deno}.ts", "src/**/*.d.ts"]);

/**
 * @param {string} root the checkout
 * @returns {Promise<{sources: string[], tests: string[]}>} paths from `root`: the sources, and the tests of the cpu group
 */
export async function coreFiles(root) {
  const { build } = await import("esbuild");
  const tests = await testsOfGroup(root, build);
  const { metafile } = await build({
    absWorkingDir: root,
    entryPoints: tests,
    bundle: true,
    write: false,
    metafile: true,
    outdir: "mutation-unused",
    platform: "node",
    format: "esm",
    packages: "external",
    loader: { ".wgsl": "text" },
    // What is imported for its types alone is not run.
    tsconfigRaw: { compilerOptions: { verbatimModuleSyntax: false, jsx: "automatic" } },
    logLevel: "error",
  });
  const importsOf = (file) => metafile.inputs[file]?.imports.map(({ path }) => path) ?? [];
  const reached = closure(tests, importsOf);
  // Comments may name what code does not use.
  const codeOf = (file) => readFileSync(join(root, file), "utf8").replace(/\/\/.*|\/\*[\s\S]*?\*\//g, "");
  const needsGpu = (file) => /\b(GPU[A-Z]\w*|Gpu|Program)\b/.test(codeOf(file));
  const isSource = matcherOf(["src/**/*.ts"]);
  return {
    sources: [...reached].filter((file) => isSource(file) && !isExcluded(file) && !needsGpu(file)).sort(),
    tests,
  };
}

async function testsOfGroup(root, build) {
  const { outputFiles } = await build({
    entryPoints: [join(root, "test/setup/groups.ts")],
    bundle: true,
    write: false,
    format: "esm",
    platform: "node",
  });
  const { includeOf } = await import(`data:text/javascript,${encodeURIComponent(outputFiles[0].text)}`);
  const { include, exclude } = includeOf("cpu");
  const [isIncluded, isLeftOut] = [matcherOf(include), matcherOf(exclude)];
  return readdirSync(join(root, "test"), { recursive: true })
    .map((name) => `test/${name.replaceAll("\\", "/")}`)
    .filter((file) => isIncluded(file) && !isLeftOut(file))
    .sort();
}

/** Everything that `files` reach, themselves included. */
function closure(files, importsOf) {
  const reached = new Set();
  const waiting = [...files];
  for (let file = waiting.pop(); file !== undefined; file = waiting.pop()) {
    if (reached.has(file)) continue;
    reached.add(file);
    waiting.push(...importsOf(file));
  }
  return reached;
}
