// Which sources the core run mutates: those that tests of the cpu group reach by imports and that handle no GPU objects, so
// that files may move.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { matcherOf } from "./glob.mjs";

/** Never mutated: code of one host, the command line, the playground, the bench, and the GPU's own. */
const isExcluded = matcherOf(["src/{cli,app,bench,gpu}/**", "src/**/*.{node,browser,deno}.ts", "src/**/*.d.ts"]);

/**
 * @param {string} root the checkout
 * @returns {Promise<{sources: string[], testsOf: (source: string) => string[]}>} paths from `root`: the sources, and for each
 *   the tests of the cpu group that reach it, the ones with the shortest chain of imports first
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
  const distances = new Map(tests.map((test) => [test, distancesFrom(test, importsOf)]));
  const reached = new Set([...distances.values()].flatMap((ofTest) => [...ofTest.keys()]));
  // Comments may name what code does not use.
  const codeOf = (file) => readFileSync(join(root, file), "utf8").replace(/\/\/.*|\/\*[\s\S]*?\*\//g, "");
  const needsGpu = (file) => /\b(GPU[A-Z]\w*|Gpu|Program)\b/.test(codeOf(file));
  const isSource = matcherOf(["src/**/*.ts"]);
  return {
    sources: [...reached].filter((file) => isSource(file) && !isExcluded(file) && !needsGpu(file)).sort(),
    testsOf: (source) =>
      tests
        .filter((test) => distances.get(test).has(source))
        .sort((a, b) => distances.get(a).get(source) - distances.get(b).get(source)),
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

/** How many imports lie between a file and everything that it reaches, itself included. */
function distancesFrom(start, importsOf) {
  const distances = new Map([[start, 0]]);
  // A Map's iteration also visits what is added on the way: breadth first.
  for (const [file, distance] of distances) {
    for (const imported of importsOf(file)) if (!distances.has(imported)) distances.set(imported, distance + 1);
  }
  return distances;
}
