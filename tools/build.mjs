// Builds the programs in dist/ with esbuild: one bundle per host, WGSL as text, source maps.
//   node tools/build.mjs
// What else a package needs is made by tools/package/make.mjs. Progress goes to stderr, so that a caller's stdout stays its own.

import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { builtinModules } from "node:module";
import { dirname, join, relative } from "node:path";
import process from "node:process";
import { fileURLToPath, pathToFileURL } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const dist = join(root, "dist");
const stampFile = join(dist, ".inputs");

const forNode = { platform: "node", target: "node20", packages: "external" };
const forDeno = {
  platform: "neutral",
  target: "es2023",
  mainFields: ["module", "main"],
  external: ["node:*", "sharp"],
};

/** One bundle per host. Node's bundles leave npm packages outside (two of them are native); the others carry all they need. */
const bundles = [
  { out: "node.js", entry: "src/index.node.ts", options: forNode },
  {
    out: "cli.js",
    entry: "src/cli/main.ts",
    // npm links it as the command, and a shell starts it by its first line.
    options: { ...forNode, banner: { js: "#!/usr/bin/env node" } },
  },
  {
    // For pages without a bundler, which fetch it as it is.
    out: "browser.js",
    entry: "src/index.browser.ts",
    options: { platform: "browser", target: "es2023", minify: true, plugins: [withoutGrammars()] },
  },
  { out: "deno.js", entry: "src/index.deno.ts", options: forDeno },
  {
    out: "ai-sdk-node.js",
    entry: "src/ai-sdk/index.node.ts",
    options: { ...forNode, plugins: [engineIn("./node.js")] },
  },
  {
    out: "ai-sdk-deno.js",
    entry: "src/ai-sdk/index.deno.ts",
    options: { ...forDeno, plugins: [engineIn("./deno.js")] },
  },
];

/** An entry beside the engine's own takes the engine from its file: the classes of errors are then the same in both. */
function engineIn(file) {
  return {
    name: "engine-in-its-own-file",
    setup: ({ onResolve }) => {
      onResolve({ filter: /^\.\.\/index(\.\w+)?\.ts$/ }, () => ({ path: file, external: true }));
    },
  };
}

/** A file of one piece has no chunks to load later: grammars, which few pages use, are left out of it. */
function withoutGrammars() {
  return {
    name: "without-grammars",
    setup: ({ onResolve }) => {
      onResolve({ filter: /\/json-constraint\.ts$/ }, () => ({
        path: join(root, "src", "generate", "grammar", "no-json-constraint.ts"),
      }));
    },
  };
}

/**
 * Builds every bundle whose entry exists, and replaces the old files in dist/ one rename each.
 * @returns `inlined`: the paths under node_modules of what the bundles hold; `imported`: the npm packages that each imports, by its file.
 */
export async function build({ sourcemap = true } = {}) {
  const { build: esbuild } = await import("esbuild");
  const stamp = inputsStamp();
  const staging = join(dist, `.build-${process.pid}`);
  const inlined = new Set();
  const imported = {};
  mkdirSync(staging, { recursive: true });
  try {
    for (const { out, entry, options } of bundles) {
      if (!existsSync(join(root, entry))) {
        process.stderr.write(`build: ${entry} does not exist, dist/${out} is not built\n`);
        continue;
      }
      const { metafile } = await esbuild({
        absWorkingDir: root,
        entryPoints: [entry],
        outfile: join(staging, out),
        bundle: true,
        format: "esm",
        sourcemap,
        loader: { ".wgsl": "text" },
        logLevel: "warning",
        metafile: true,
        ...options,
      });
      for (const input of Object.keys(metafile.inputs)) if (input.startsWith("node_modules/")) inlined.add(input);
      imported[out] = packagesOf(metafile);
    }
    for (const name of readdirSync(staging)) renameSync(join(staging, name), join(dist, name));
    writeFileSync(stampFile, stamp);
    return { inlined: [...inlined], imported };
  } finally {
    rmSync(staging, { recursive: true, force: true });
  }
}

/** The npm packages that a bundle imports, sorted. */
function packagesOf({ outputs }) {
  const paths = Object.values(outputs).flatMap(({ imports }) => imports.map(({ path }) => path));
  const names = paths.filter((path) => !/^[./]|^node:/.test(path) && !builtinModules.includes(path));
  return [...new Set(names.map((path) => /^(@[^/]+\/)?[^/]+/.exec(path)?.[0]))].sort();
}

/** Whether dist/ was built from the sources as they are now. */
export function isBuilt() {
  return existsSync(join(dist, "cli.js")) && existsSync(stampFile) && readFileSync(stampFile, "utf8") === inputsStamp();
}

/** A digest of name, size and time of everything a bundle is made of; a file added, changed or removed changes it. */
function inputsStamp() {
  const hash = createHash("sha256");
  const add = (path) => {
    const stats = statSync(path);
    if (stats.isDirectory()) {
      for (const name of readdirSync(path).sort()) add(join(path, name));
    } else {
      hash.update(`${relative(root, path)} ${stats.size} ${stats.mtimeMs}\n`);
    }
  };
  for (const input of ["src", "shaders", "package.json", "package-lock.json", "tools/build.mjs"]) {
    if (existsSync(join(root, input))) add(join(root, input));
  }
  return hash.digest("hex");
}

/** Tells on stderr how large the bundles are. */
export function reportSizes() {
  for (const { out } of bundles) {
    const file = join(dist, out);
    if (existsSync(file)) process.stderr.write(`build: dist/${out} ${(statSync(file).size / 1024).toFixed(0)} KiB\n`);
  }
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  await build();
  reportSizes();
}
