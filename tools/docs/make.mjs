// The site: guide, API reference and playground as one static folder, dist/docs.
//   npm run docs                      builds it; fails for a dead link and for a type that is referred to but not exported
//   npm run docs -- --base /adaptvis/ for a server that has it at that path; "/" unless given
//   npm run docs -- --serve           shows what was built at an address of this machine; --port PORT
// VitePress and TypeDoc are installed under tools/docs at the first run (150 MB), apart from the project: TypeDoc needs another
// TypeScript, and the engine nothing of either.

import { spawnSync } from "node:child_process";
import { cpSync, existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const folder = dirname(fileURLToPath(import.meta.url));
const root = join(folder, "..", "..");
const out = join(root, "dist", "docs");
const staged = join(root, "dist", "docs-pages");

process.exitCode = await main(readArguments());

async function main({ base, isServing, port }) {
  if (!isInstalled() && !install()) return 1;
  if (isServing) return serve(port);
  const { buildApp } = await import("../app.mjs");
  const { stagePages } = await import("./stage.mjs");
  const { repositoryProblems, siteProblems } = await import("./check-links.mjs");
  const { writeKernelPages } = await import("./kernels/make.mjs");
  rmSync(staged, { recursive: true, force: true });
  const inRepository = report(repositoryProblems());
  if (!writeReference(join(staged, "api"))) return 1;
  await stagePages(staged);
  await writeKernelPages(staged);
  const { out: app } = await buildApp({ out: join(root, "dist", "docs-playground") });
  process.env.ADAPTVIS_DOCS_BASE = base;
  const { build } = await import("vitepress");
  await build(folder);
  cpSync(app, join(out, "playground"), { recursive: true });
  rmSync(app, { recursive: true });
  writeFileSync(join(out, "base.txt"), base);
  const isWhole = report(siteProblems(out, base)) && inRepository;
  if (isWhole) process.stderr.write(`docs: wrote ${out}; npm run docs -- --serve shows it\n`);
  return isWhole ? 0 : 1;
}

/** Whether what is installed is what the lock file names; npm keeps a copy of the latter. */
function isInstalled() {
  const lock = join(folder, "node_modules", ".package-lock.json");
  if (!existsSync(lock)) return false;
  const { packages } = JSON.parse(readFileSync(join(folder, "package-lock.json"), "utf8"));
  const installed = JSON.parse(readFileSync(lock, "utf8")).packages;
  const { dependencies } = packages[""];
  return Object.keys(dependencies).every((name) => {
    const path = `node_modules/${name}`;
    return installed[path]?.version === packages[path]?.version;
  });
}

function install() {
  process.stderr.write("docs: installing VitePress and TypeDoc (tools/docs), once\n");
  const args = ["ci", "--prefix", folder, "--no-audit", "--no-fund", "--ignore-scripts"];
  const { status } = spawnSync("npm", args, { stdio: ["ignore", 2, 2], shell: process.platform === "win32" });
  if (status !== 0) process.stderr.write("docs: VitePress and TypeDoc could not be installed (see above)\n");
  return status === 0;
}

/** The API's pages. Fails also for a type that is referred to but not exported, and for a link that leads nowhere. */
function writeReference(target) {
  const typedoc = join(folder, "node_modules", "typedoc", "bin", "typedoc");
  const args = [typedoc, "--options", join(folder, "typedoc.json"), "--out", target];
  return spawnSync(process.execPath, args, { stdio: ["ignore", 2, 2] }).status === 0;
}

/** Prints what is wrong. @returns whether nothing is */
function report(problems) {
  for (const problem of problems) process.stderr.write(`docs: ${problem}\n`);
  return problems.length === 0;
}

async function serve(port) {
  if (!existsSync(join(out, "index.html"))) {
    process.stderr.write("docs: there is no site yet: run `npm run docs` first\n");
    return 1;
  }
  const { serve: serveFolder } = await import("vitepress");
  process.env.ADAPTVIS_DOCS_BASE = readFileSync(join(out, "base.txt"), "utf8");
  await serveFolder({ root: folder, base: process.env.ADAPTVIS_DOCS_BASE, port });
  return 0;
}

function readArguments() {
  const options = {
    base: { type: "string", default: "/" },
    serve: { type: "boolean", default: false },
    port: { type: "string", default: "4173" },
  };
  const { values } = parseArgs({ options });
  if (!/^\/([\w.~-]+\/)*$/.test(values.base)) {
    process.stderr.write(`docs: --base must be a path such as /adaptvis/, got ${values.base}\n`);
    process.exit(2);
  }
  return { base: values.base, isServing: values.serve, port: Number(values.port) };
}
