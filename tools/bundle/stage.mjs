// Lays out the folder that becomes the archive.

import { spawnSync } from "node:child_process";
import {
  chmodSync,
  cpSync,
  createReadStream,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { dirname, join, relative } from "node:path";
import { pipeline } from "node:stream/promises";
import { fileURLToPath } from "node:url";
import { createBrotliDecompress } from "node:zlib";
import { licenceOf, manifestOf, packageFolder, packageOfFile, withDependencies } from "./packages.mjs";

const here = dirname(fileURLToPath(import.meta.url));
const fontFiles = ["package.json", "LICENSE", ...[400, 700].map((w) => `files/dejavu-sans-latin-${w}-normal.woff`)];

/**
 * Fills `folder` with everything but what a Linux with a GPU driver has.
 * @param parts.node      the Node to carry, as inspectNode gives it
 * @param parts.pictures  whether sharp goes along; without it the command refuses picture files
 * @throws Error when a part is missing, naming it.
 */
export async function stage(folder, { root, node, pictures, note }) {
  const app = join(folder, "app");
  mkdirSync(join(folder, "bin"), { recursive: true });
  mkdirSync(app);
  for (const name of ["run-bench", "run-adaptvis", "run-gpu-session", "README.txt"])
    cpSync(join(here, name), join(folder, name));
  cpSync(node.file, join(folder, "bin", "node"));

  // The engine: one file of JavaScript, and the packages that hold native code or are read as files
  const inlined = await bundleCommand(join(app, "dist", "cli.js"), { root });
  inlined.push(...(await bundleKernelTests(join(app, "dist", "kernel-tests.mjs"), { root })));
  const carried = withDependencies(pictures ? ["webgpu", "sharp"] : ["webgpu"], root);
  for (const source of carried) copyPackage(source, join(app, relative(root, source)));
  const font = packageFolder("@fontsource/dejavu-sans", root);
  for (const name of fontFiles) copyPart(join(font, name), join(app, relative(root, font), name));
  const dawn = join(app, "node_modules", "webgpu", "dist", "linux-x64", "dawn.node");
  if (!existsSync(dawn)) throw new Error("the npm package webgpu holds no dist/linux-x64/dawn.node; run npm ci");
  for (const file of [join(folder, "bin", "node"), dawn]) strip(file, note);

  // What a reader and the bench open: kernels, the embedded checkpoint without its benchmark's pictures
  copyPart(join(root, "shaders"), join(app, "shaders"));
  const weights = join(root, "weights", "tiny-spatial");
  copyPart(weights, join(app, "weights", "tiny-spatial"), (path) => {
    const inside = relative(weights, path);
    return !/^(benchmark|heat-map\.png)/.test(inside) && (pictures || !/^demo/.test(inside));
  });
  const { name, version, license } = manifestOf(root);
  const manifest = { name, version, license, type: "module", gitHead: revision(root) };
  writeFileSync(join(app, "package.json"), `${JSON.stringify(manifest, undefined, 2)}\n`);
  copyPart(join(root, "LICENSE"), join(folder, "LICENSE"));

  await unpackLoader(join(folder, "lib", "vulkan-loader"), root);
  writeFileSync(join(folder, "LICENSES.txt"), licences({ root, node, packages: [...inlined, ...carried, font] }));
}

/** @throws Error when the packages of {@link stagePeers} are not installed. */
export function requirePeers(root) {
  if (existsSync(join(root, "tools", "bench", "node_modules", "onnxruntime-node"))) return;
  throw new Error(
    "--peers: their packages are not installed; run ONNXRUNTIME_NODE_INSTALL=skip npm ci --prefix tools/bench",
  );
}

/**
 * Fills `folder` with ONNX Runtime and the program that runs it as a peer of the bench, in the places of a checkout.
 * @throws Error when a part is missing, naming it.
 */
export async function stagePeers(folder, { root, note }) {
  const app = join(folder, "app");
  const bench = join(root, "tools", "bench");
  const target = join(app, "tools", "bench");
  copyPart(bench, target, (path) => {
    const inside = relative(bench, path);
    return statSync(path).isDirectory() ? /^(|peers)$/.test(inside) : inside.endsWith(".mjs");
  });
  const list = JSON.parse(readFileSync(join(bench, "peers", "peers.json"), "utf8"));
  const peers = list.filter(({ file, args }) => file === "onnxruntime.mjs" && args.includes("webgpu"));
  writeFileSync(join(target, "peers", "peers.json"), `${JSON.stringify(peers, undefined, 2)}\n`);
  const packages = ["onnxruntime-node", "onnxruntime-common"].map((name) => packageFolder(name, bench));
  for (const source of packages) {
    const home = join(target, relative(bench, source));
    copyPart(source, home, (path) => {
      const inside = relative(source, path);
      if (/\.(d\.ts|map)$/.test(inside)) return false;
      return !/^bin\/napi-v\d+\/./.test(inside) || /^bin\/napi-v\d+\/linux($|\/x64)/.test(inside);
    });
  }
  for (const path of readdirSync(target, { recursive: true })) {
    if (/\.(node|so(\.\d+)*)$/.test(path)) strip(join(target, path), note);
  }
  // What the exports import of a checkout: the engine as a library, and that it is built.
  const inlined = await bundleProgram({
    absWorkingDir: root,
    entryPoints: ["src/index.node.ts"],
    outfile: join(app, "dist", "node.js"),
    external: ["webgpu", "sharp", "canvas"],
  });
  writeFileSync(
    join(app, "tools", "build.mjs"),
    "export const isBuilt = () => true;\nexport const build = async () => undefined;\n",
  );
  const texts = [...packages, ...inlined].map(licenceOf).map(({ title, details, texts }) => [title, details, ...texts]);
  writeFileSync(join(folder, "LICENSES-peers.txt"), `${texts.flat().join("\n\n")}\n`);
}

/** The command in one file. @returns the folders of the packages inside it. */
async function bundleCommand(outfile, { root }) {
  return bundleProgram({
    absWorkingDir: root,
    entryPoints: ["src/cli/main.ts"],
    outfile,
    // canvas is vega's way to bitmaps, which the reports do not use.
    external: ["webgpu", "sharp", "canvas"],
  });
}

/** The tests of every kernel in one file, with vitest's runner. @returns the folders of the packages inside it. */
async function bundleKernelTests(outfile, { root }) {
  const vitest = packageFolder("vitest", root);
  const tests = readdirSync(join(root, "shaders"))
    .map((file) => `test/kernels/${file.replace(/\.wgsl$/, ".test.ts")}`)
    .filter((file) => file.endsWith(".test.ts") && existsSync(join(root, file)))
    .sort((a, b) => rank(a) - rank(b));
  const list = tests.map((file) => `  ${JSON.stringify(file)}: () => import(${JSON.stringify(join(root, file))}),`);
  return bundleProgram({
    absWorkingDir: root,
    entryPoints: [join(here, "kernel-tests.mjs")],
    outfile,
    external: ["webgpu", "sharp"],
    alias: { vitest: join(here, "vitest-in-one.mjs") },
    nodePaths: [join(vitest, "node_modules"), dirname(vitest)],
    plugins: [
      {
        name: "kernel-tests",
        setup(build) {
          build.onResolve({ filter: /^kernel-tests$/ }, ({ path }) => ({ path, namespace: "kernel-tests" }));
          build.onLoad({ filter: /.*/, namespace: "kernel-tests" }, () => ({
            contents: `export const kernelTests = {\n${list.join("\n")}\n};`,
            resolveDir: root,
          }));
        },
      },
    ],
  });
}

/** The kernels of GPUs first, since the time may end before the last. */
function rank(file) {
  if (/-(tiled|subgroup)\.test/.test(file)) return 0;
  return /-quad\.test/.test(file) ? 2 : 1;
}

/** A program for Node in one file. @returns the folders of the packages inside it. */
async function bundleProgram(options) {
  const { build } = await import("esbuild");
  const { metafile } = await build({
    ...options,
    bundle: true,
    platform: "node",
    target: "node20",
    format: "esm",
    loader: { ".wgsl": "text" },
    // Packages in CommonJS ask for Node's modules by require, which a module lacks.
    banner: {
      js: 'import { createRequire as requireFrom } from "node:module";\nconst require = requireFrom(import.meta.url);',
    },
    metafile: true,
    logLevel: "error",
  });
  const root = options.absWorkingDir;
  const files = Object.keys(metafile.inputs).filter((input) => input.includes("node_modules/"));
  return [...new Set(files.map((file) => packageOfFile(join(root, file))))];
}

/** A package without what only builders and readers of it need; of webgpu, this platform's binary alone. */
function copyPackage(source, target) {
  copyPart(source, target, (path) => {
    const inside = relative(source, path);
    if (/^(src|install|build|node_modules)(\/|$)|\.(d\.[cm]?ts|map)$/.test(inside)) return false;
    return !/^dist\/(darwin|win32|linux)-/.test(inside) || /^dist\/linux-x64/.test(inside);
  });
}

function copyPart(source, target, filter = () => true) {
  if (!existsSync(source)) throw new Error(`${source} is missing`);
  cpSync(source, target, { recursive: true, dereference: true, filter });
}

/** Takes the debug symbols out, where binutils are installed; without them the archive is a little larger. */
function strip(file, note) {
  chmodSync(file, 0o755);
  const { status, error } = spawnSync("strip", [file], { stdio: "ignore" });
  if (error !== undefined || status !== 0) note(`strip is not installed or failed: ${file} keeps its symbols`);
}

/** The Vulkan loader that Chromium's build for servers carries. */
async function unpackLoader(folder, root) {
  const archive = join(packageFolder("@sparticuz/chromium", root), "bin", "swiftshader.tar.br");
  const { extract } = await import("tar-fs");
  mkdirSync(folder, { recursive: true });
  const loader = join(folder, "libvulkan.so.1");
  const options = { ignore: (path) => path !== loader, chown: false };
  await pipeline(createReadStream(archive), createBrotliDecompress(), extract(folder, options));
  if (!existsSync(loader)) throw new Error(`${archive} holds no libvulkan.so.1`);
}

/** The revision, with + where tracked files were changed; undefined outside of a checkout. */
function revision(root) {
  const git = (...args) => spawnSync("git", args, { cwd: root, encoding: "utf8" });
  const head = git("rev-parse", "--short", "HEAD");
  if (head.status !== 0) return undefined;
  return `${head.stdout.trim()}${git("status", "--porcelain", "--untracked-files=no").stdout === "" ? "" : "+"}`;
}

/** Every licence, each text once. */
function licences({ root, node, packages }) {
  const own = readFileSync(join(root, "LICENSE"), "utf8").trim();
  const chromium = manifestOf(packageFolder("@sparticuz/chromium", root));
  const notices = [
    { title: "adaptvis", details: "Apache-2.0", texts: [own] },
    { title: `Node ${node.version} (bin/node)`, details: "MIT and others, https://nodejs.org", texts: [node.licence] },
    {
      title: "Vulkan-Loader (lib/vulkan-loader), Khronos Group",
      details: `Apache-2.0, as built for Chromium and packed by @sparticuz/chromium ${chromium.version}`,
      texts: [own], // the same licence
    },
    ...[...new Set(packages)].sort().map(licenceOf),
  ];
  const firstWith = new Map();
  const sections = notices.map(({ title, details, texts }) => {
    const shown = texts.map((text) => {
      const first = firstWith.get(text);
      if (first === undefined) firstWith.set(text, title);
      return first === undefined ? text : `(the same text as under ${first})`;
    });
    return [`==== ${title}`, details, "", ...shown, ""].join("\n");
  });
  return `What this archive holds, and under which licences.\n\n${sections.join("\n")}`;
}
