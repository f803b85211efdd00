// Bundles the kernels' tests for browsers: the same files as in the suite, with stand-ins for what only Node has.

import { createRequire } from "node:module";
import { basename, dirname, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const root = join(here, "..", "..", "..");
const live = (name) => join(here, "live", name);

/** What the tests import, and what stands in for it in a page. */
const STAND_INS = [
  { filter: /^vitest$/, path: join(root, "tools", "bundle", "vitest-in-one.mjs") },
  { filter: /\/device\.ts$/, of: /test\/(setup|kernels)\//, from: /setup\/device\.ts$/, path: live("device.ts") },
  { filter: /\/record-error\.ts$/, path: live("recorder.ts") },
  { filter: /\/executor\.ts$/, of: /test\/(setup|kernels)\//, path: live("executor.ts") },
];

/**
 * Writes `element.js`, which defines the custom element <kernel-live-run>, and what it loads when its button is pressed.
 * @param {string} outFolder where the files go
 * @param {readonly string[]} kernels names of shaders that have a test of the same name
 * @returns {Promise<import("esbuild").Metafile>} what the files hold
 */
export async function bundleLive(outFolder, kernels) {
  const { build } = await import("esbuild");
  const vitest = dirname(createRequire(join(root, "package.json")).resolve("vitest/package.json"));
  const list = kernels.map((name) => {
    const file = JSON.stringify(join(root, "test", "kernels", `${name}.test.ts`));
    return `  ${JSON.stringify(name)}: () => import(${file}),`;
  });
  const { metafile } = await build({
    absWorkingDir: root,
    entryPoints: { element: live("element.mjs") },
    outdir: outFolder,
    chunkNames: "[name]-[hash]",
    bundle: true,
    splitting: true,
    minify: true,
    platform: "browser",
    target: "es2023",
    format: "esm",
    loader: { ".wgsl": "text" },
    define: { "process.env.NODE_ENV": '"production"' },
    nodePaths: [join(vitest, "node_modules"), dirname(vitest)],
    plugins: [standIns(list)],
    metafile: true,
    logLevel: "error",
  });
  return metafile;
}

function standIns(list) {
  return {
    name: "kernel-tests",
    setup(build) {
      build.onResolve({ filter: /^kernel-tests$/ }, ({ path }) => ({ path, namespace: "kernel-tests" }));
      build.onLoad({ filter: /.*/, namespace: "kernel-tests" }, () => ({
        contents: `export const kernelTests = {\n${list.join("\n")}\n};`,
        resolveDir: root,
      }));
      for (const { filter, of = /\/test\//, from, path } of STAND_INS) {
        build.onResolve({ filter }, ({ importer, resolveDir, path: wanted }) => {
          if (!of.test(importer.replaceAll("\\", "/"))) return undefined;
          const target = join(resolveDir, wanted).replaceAll("\\", "/");
          return from === undefined || from.test(target) ? { path } : undefined;
        });
      }
    },
  };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [outFolder, ...kernels] = process.argv.slice(2);
  const { outputs } = await bundleLive(outFolder, kernels);
  for (const [file, { bytes }] of Object.entries(outputs)) process.stdout.write(`${basename(file)} ${bytes}\n`);
}
