// The playground:
//   node tools/app.mjs build [--out FOLDER]   writes a static folder (dist/app) that any host serves, from any path
//     --connect ORIGIN                        lets the page load models from that server too, beside Hugging Face's; repeatable
//   node tools/app.mjs serve [--port PORT]    serves it from the sources, built anew at every reload; without a service worker

import { createHash } from "node:crypto";
import { once } from "node:events";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, request } from "node:http";
import { tmpdir } from "node:os";
import { dirname, join, relative, sep } from "node:path";
import process from "node:process";
import { fileURLToPath, pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import esbuild from "esbuild";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const source = join(root, "src", "app");
const model = join("weights", "tiny-habit");
/** What of the checkpoint's folder the page has no use for. */
const notOfThePage = new Set(["benchmark", "heat-map.png"]);

const common = {
  absWorkingDir: root,
  bundle: true,
  format: "esm",
  target: "es2023",
  jsx: "automatic",
  jsxImportSource: "preact",
  splitting: true,
  loader: { ".wgsl": "text" },
  logLevel: "warning",
};

/**
 * Writes the static folder.
 * @param {{ out?: string, version?: string, connect?: readonly string[] }} options `version` makes a build differ from another of
 *   the same sources, for tests of the update; `connect` are further servers that its policy lets the page load models from
 * @returns {Promise<{ out: string, files: string[], version: string }>} `files` are the paths in it
 */
export async function buildApp({ out = join(root, "dist", "app"), version: label = "", connect = [] } = {}) {
  rmSync(out, { recursive: true, force: true });
  mkdirSync(out, { recursive: true });
  const hashed = { ...common, outdir: out, entryNames: "[name]-[hash]", minify: true, metafile: true };
  const worker = await esbuild.build({
    ...hashed,
    entryPoints: ["src/app/worker.ts"],
    plugins: [besides("src/app/engine/engine.ts", "PlaygroundEngine")],
  });
  const workerFile = outputOf(worker, "src/app/worker.ts");
  const define = { WORKER_FILE: JSON.stringify(workerFile) };
  const entryPoints = ["src/app/main.tsx", "src/app/style.css"];
  const page = await esbuild.build({
    ...hashed,
    entryPoints,
    define,
    plugins: [besides("src/app/main.tsx", "keepFocus")],
  });
  copyStatic(out);
  let html = withServers(readFileSync(join(source, "index.html"), "utf8"), connect);
  for (const entry of entryPoints) {
    const plain = `./${entry.split("/").at(-1).replace(".tsx", ".js")}`;
    if (!html.includes(`"${plain}"`)) throw new Error(`app: index.html does not name ${plain}`);
    html = html.replaceAll(`"${plain}"`, `"./${outputOf(page, entry)}"`);
  }
  const preloads = staticChunks(page, "src/app/main.tsx").map(
    (file) => `<link rel="modulepreload" href="./${file}" />`,
  );
  html = html.replace("<script ", `${preloads.join("\n    ")}\n    <script `);
  writeFileSync(join(out, "index.html"), html);
  writeFileSync(join(out, "licences.txt"), licences([worker, page]));

  const files = listFiles(out);
  const digest = createHash("sha256").update(label);
  for (const file of files) digest.update(`${file}\n`).update(readFileSync(join(out, file)));
  const version = digest.digest("hex").slice(0, 16);
  const { metafile: _, entryNames: __, splitting: ___, ...plain } = hashed;
  await esbuild.build({
    ...plain,
    entryPoints: ["src/app/service-worker.ts"],
    format: "iife",
    define: { BUILD_FILES: JSON.stringify(files), BUILD_VERSION: JSON.stringify(version) },
  });
  return { out, files: [...files, "service-worker.js"], version };
}

/**
 * Serves the sources with the page's policy as a header; every request builds what changed.
 * @returns the address and a function that ends it
 */
export async function serveApp({ port } = {}) {
  const folder = mkdtempSync(join(tmpdir(), "adaptvis-app-"));
  copyStatic(folder);
  const context = await esbuild.context({
    ...common,
    entryPoints: ["src/app/main.tsx", "src/app/style.css", "src/app/worker.ts", "src/app/index.html"],
    outdir: folder,
    write: false,
    splitting: true,
    sourcemap: true,
    loader: { ...common.loader, ".html": "copy" },
    define: { WORKER_FILE: '"worker.js"' },
  });
  const server = createServer((incoming, outgoing) => forward(incoming, outgoing, built));
  /** Where esbuild serves, which sets no headers. */
  let built;
  const close = async () => {
    server.closeAllConnections();
    server.close();
    await context.dispose();
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    built = await context.serve({ servedir: folder, host: "127.0.0.1" });
    server.listen(port ?? 0, "127.0.0.1");
    await once(server, "listening");
    return { url: `http://127.0.0.1:${server.address().port}/`, close };
  } catch (cause) {
    await close();
    if (cause.code !== "EADDRINUSE") throw cause;
    throw new Error(`port ${port} is in use by another program: choose another one with --port`, { cause });
  }
}

/** Answers with what esbuild's server answers, and the page's Content-Security-Policy. */
function forward(incoming, outgoing, { port }) {
  const { method, url: path, headers } = incoming;
  const asked = request({ host: "127.0.0.1", port, method, path, headers }, (answer) => {
    outgoing.writeHead(answer.statusCode, { ...answer.headers, "content-security-policy": contentPolicy() });
    answer.pipe(outgoing);
  });
  asked.on("error", (error) => outgoing.destroy(error));
  outgoing.on("close", () => asked.destroy());
  incoming.pipe(asked);
}

/** The page with further servers in the directive connect-src. */
function withServers(html, servers) {
  const [directive] = /connect-src [^;]*/.exec(html) ?? [];
  if (directive === undefined) throw new Error("app: index.html has no connect-src");
  return html.replace(directive, [directive, ...servers].join(" "));
}

/** The policy in index.html, as a header has it. @throws when the page has none. */
function contentPolicy() {
  const html = readFileSync(join(source, "index.html"), "utf8");
  const [, policy] = /http-equiv="Content-Security-Policy"\s+content="([^"]+)"/.exec(html) ?? [];
  if (policy === undefined) throw new Error("app: index.html has no Content-Security-Policy");
  return policy.trim().replaceAll(/\s+/g, " ");
}

/** Sprites, the embedded checkpoint with its example pictures, and the licence. */
function copyStatic(out) {
  cpSync(join(source, "sprites"), join(out, "sprites"), { recursive: true });
  cpSync(join(root, model), join(out, model), {
    recursive: true,
    filter: (path) => !notOfThePage.has(relative(join(root, model), path).split(sep)[0]),
  });
  cpSync(join(source, "recorded-example.json"), join(out, "recorded-example.json"));
  cpSync(join(root, "LICENSE"), join(out, "LICENSE"));
}

/**
 * Bundles what is imported by `import()` so that it stands besides one chunk of what is there at once. esbuild makes a chunk of the
 * modules that the same entries reach, which with many lazy parts is many small chunks; here every lazy part reaches `anchor`, and
 * so all that the anchor needs is one chunk.
 * @param {string} anchor a module that the entry imports, with most of what it needs
 * @param {string} name one of its exports
 */
function besides(anchor, name) {
  return {
    name: "besides",
    setup(build) {
      build.onResolve({ filter: /.*/ }, async ({ path, resolveDir, importer, kind, pluginData }) => {
        if (kind !== "dynamic-import" || pluginData === "besides") return undefined;
        const found = await build.resolve(path, { resolveDir, importer, kind, pluginData: "besides" });
        return found.errors.length > 0 ? found : { path: found.path, namespace: "lazy" };
      });
      build.onLoad({ filter: /.*/, namespace: "lazy" }, ({ path }) => ({
        contents: `export * from ${JSON.stringify(path)};
          export { ${name} as besides } from ${JSON.stringify(join(root, anchor))};`,
        resolveDir: root,
      }));
    },
  };
}

/** The names of the chunks that an entry needs before it runs. */
function staticChunks({ metafile: { outputs } }, entry) {
  const found = new Set();
  const visit = (path) => {
    for (const { path: next, kind } of outputs[path].imports) {
      if (kind !== "import-statement" || found.has(next)) continue;
      found.add(next);
      visit(next);
    }
  };
  visit(Object.keys(outputs).find((path) => outputs[path].entryPoint === entry));
  return [...found].map((path) => path.split("/").at(-1));
}

/** The name of an entry's output in its folder. */
function outputOf({ metafile }, entry) {
  const [path] = Object.entries(metafile.outputs).find(([, { entryPoint }]) => entryPoint === entry) ?? [];
  if (path === undefined) throw new Error(`app: no output for ${entry}`);
  return path.split("/").at(-1);
}

/** The licences of the npm packages that ended up in the bundles. */
function licences(results) {
  const all = results.flatMap(({ metafile }) => Object.keys(metafile.inputs));
  const inputs = all.filter((path) => !path.startsWith("lazy:"));
  const packages = new Set(inputs.flatMap((path) => /^(.*node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(path)?.[1] ?? []));
  const parts = [...packages].sort().map((folder) => {
    const { name, version, license } = JSON.parse(readFileSync(join(root, folder, "package.json"), "utf8"));
    const file = readdirSync(join(root, folder)).find((entry) => /^licen[cs]e/i.test(entry));
    const text = file === undefined ? "" : readFileSync(join(root, folder, file), "utf8");
    return `${name} ${version} (${license})\n\n${text.trim()}\n`;
  });
  const own =
    "adaptvis is under the Apache License 2.0, see LICENSE; the pictures of objects are Microsoft's Fluent emoji, see sprites/LICENSE-fluent-emoji. The page also holds:\n";
  return [own, ...parts].join(`\n${"-".repeat(80)}\n\n`);
}

function listFiles(folder) {
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true });
  const paths = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  return paths.map((path) => relative(folder, path).split(sep).join("/")).sort();
}

const USAGE = `usage: node tools/app.mjs build [--out FOLDER] [--connect ORIGIN]... | serve [--port PORT]
  build  writes the playground as a static folder (dist/app) that any host serves, from any path
         --connect lets it load models from that server too, such as https://models.example.org
  serve  serves it from the sources, built anew at every reload, and prints its address
`;

/** @throws UsageError */
function readArguments() {
  const options = {
    port: { type: "string" },
    out: { type: "string" },
    connect: { type: "string", multiple: true },
    help: { type: "boolean", short: "h" },
  };
  let parsed;
  try {
    parsed = parseArgs({ options, allowPositionals: true });
  } catch (error) {
    throw new UsageError(error.message);
  }
  const { values, positionals } = parsed;
  const [command = "serve", ...more] = positionals;
  if (values.help) return { command: "help" };
  if (!["build", "serve"].includes(command) || more.length > 0) {
    throw new UsageError(`expected build or serve, got ${positionals.join(" ")}`);
  }
  const isPort = values.port === undefined || (/^\d+$/.test(values.port) && values.port > 0 && values.port < 65536);
  if (!isPort) throw new UsageError(`--port: expected a number from 1 to 65535, got ${values.port}`);
  // What it has becomes part of the policy.
  const wrong = values.connect?.find((origin) => !/^https?:\/\/(\*\.)?[\w.-]+(:(\d+|\*))?$/.test(origin));
  if (wrong !== undefined)
    throw new UsageError(`--connect: expected a server such as https://example.org, got ${wrong}`);
  return {
    command,
    connect: values.connect,
    out: values.out,
    port: values.port === undefined ? undefined : Number(values.port),
  };
}

class UsageError extends Error {}

async function main() {
  const { command, connect, out: wanted, port } = readArguments();
  if (command === "help") {
    process.stdout.write(USAGE);
    return;
  }
  if (command === "build") {
    const { out, files, version } = await buildApp({
      ...(wanted !== undefined && { out: wanted }),
      ...(connect && { connect }),
    });
    process.stderr.write(`app: ${files.length} files in ${relative(process.cwd(), out) || "."}, version ${version}\n`);
    return;
  }
  const { url, close } = await serveApp({ port });
  process.stdout.write(`${url}\n`);
  for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => void close().then(() => process.exit(0)));
}

/** One sentence, and the exit code: 2 for a command line that cannot be used. */
function fail(error) {
  const isUsage = error instanceof UsageError;
  process.stderr.write(`app: ${error.message}\n${isUsage ? USAGE : ""}`);
  process.exit(isUsage ? 2 : 1);
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) await main().catch(fail);
