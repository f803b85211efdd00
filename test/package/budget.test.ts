// What a page fetches of the core: a user's imports, bundled, minified and gzipped as a server would send them.
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";
import { afterAll, beforeAll, expect, test } from "vitest";
import { makeProject, type Project } from "./project.ts";

/** Bytes, gzipped, without the kernels' texts: all that stands before the first question but the template engine. */
const CORE_BUDGET = 122e3;

const IMPORTS = 'import { decodeImage, httpSource, Llava, requestGpuDevice } from "adaptvis";';
const USE = "globalThis.used = [decodeImage, httpSource, Llava, requestGpuDevice];";

let project: Project;

beforeAll(async () => {
  project = await makeProject();
});

afterAll(() => project.remove());

/** Gzipped bytes of the first chunk and of those loaded later, and the modules of the first. */
async function measure(
  code: string,
  options: { readonly external?: readonly string[]; readonly shaders?: boolean } = {},
) {
  const { outputFiles, metafile } = await build({
    // Paths of the metafile are relative to this folder; of the process's own one, a clone elsewhere would get others.
    absWorkingDir: project.folder,
    stdin: { contents: code, resolveDir: project.folder },
    bundle: true,
    minify: true,
    splitting: true,
    format: "esm",
    platform: "browser",
    outdir: project.folder,
    write: false,
    metafile: true,
    external: [...(options.external ?? [])],
    logLevel: "warning",
    plugins: [
      {
        name: "kernels' texts",
        setup({ onLoad }) {
          if (options.shaders === true) return;
          onLoad({ filter: /adaptvis\/dist\/esm\/shaders\// }, () => ({
            contents: 'export default "";',
            loader: "js",
          }));
        },
      },
    ],
  });
  const chunks = outputFiles.map(({ path, contents }) => ({ path, size: gzipSync(contents, { level: 9 }).length }));
  const first = chunks.find(({ path }) => path.endsWith("stdin.js"));
  if (first === undefined) throw new Error("esbuild wrote no entry");
  // Shared chunks that the entry imports at once are fetched with it.
  const outputs = Object.entries(metafile.outputs);
  const entry = outputs.find(([path]) => path.endsWith("stdin.js"))?.[1];
  const atOnce = (entry?.imports ?? []).filter(({ kind }) => kind === "import-statement").map(({ path }) => path);
  const isFirst = (path: string) =>
    path === first.path || atOnce.some((name) => path.endsWith(name.split("/").at(-1) ?? name));
  return {
    first: chunks.filter(({ path }) => isFirst(path)).reduce((sum, { size }) => sum + size, 0),
    later: chunks.filter(({ path }) => !isFirst(path)).reduce((sum, { size }) => sum + size, 0),
    modules: outputs
      .filter(([path]) => isFirst(join(project.folder, path)))
      .flatMap(([, { inputs }]) => Object.entries(inputs).filter(([, { bytesInOutput }]) => bytesInOutput > 0))
      .map(([path]) => path),
  };
}

test(`the core without kernels' texts is at most ${CORE_BUDGET / 1e3} KB gzipped, its tokenizer included`, async () => {
  const whole = await measure(IMPORTS + USE);
  const own = await measure(IMPORTS + USE, { external: ["@huggingface/tokenizers", "@huggingface/jinja"] });
  const withShaders = await measure(IMPORTS + USE, { shaders: true });
  console.log(
    `gzipped bytes: ${own.first} adaptvis itself, ${whole.first} with the tokenizer's package, ${whole.later} more for a ` +
      `checkpoint with a chat template, ${withShaders.first - whole.first} kernels' texts`,
  );
  expect(whole.first).toBeLessThanOrEqual(CORE_BUDGET);
  expect(whole.later).toBeGreaterThan(5e3); // the template engine is a chunk of its own
  expect(whole.modules.some((path) => path.includes("@huggingface/jinja"))).toBe(false);
});

test("what is not imported is left out", async () => {
  const { modules } = await measure(IMPORTS + USE);
  const has = (name: string) => modules.some((path) => path.endsWith(`dist/esm/${name}`));
  expect(has("llava.js")).toBe(true);
  for (const name of [
    "inspect/heat-map.js",
    "gpu/profile/profiler.js",
    "gpu/ops/measure-tuning.js",
    "checkpoint/blob-source.js",
    "gpu/doctor.js",
    "explain.js",
    "inspect/explain-executor.js",
  ]) {
    expect(has(name), name).toBe(false);
  }
  const little = await measure('import { chooseFactor } from "adaptvis"; globalThis.used = chooseFactor;');
  expect(little.first).toBeLessThan(22_000); // with the chunks that parts loaded later share
});

test("a page takes only the client of a model in a worker, not the engine", async () => {
  const { first, modules } = await measure(
    'import { WorkerModel } from "adaptvis/worker"; globalThis.used = WorkerModel;',
  );
  console.log(`gzipped bytes of the worker's client: ${first}`);
  expect(first).toBeLessThan(8_000);
  expect(modules.filter((path) => /llava|session\.js|shaders/.test(path))).toEqual([]);
});
