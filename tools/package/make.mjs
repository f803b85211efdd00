// Makes in dist/ what the npm packages and the JSR package hold. npm runs this before packing.
//   node tools/package/make.mjs
// dist/*.js       one self-contained file for pages and for Deno, Node's library; no source maps
// dist/esm/       a module a source file with its declarations, for bundlers and for all type checkers
// dist/licenses.txt   the licences of what dist/*.js hold
// dist/cli-package/   the package adaptvis-cli, which has the command; `npm pack ./dist/cli-package` packs it
// dist/jsr/       the folder that `deno publish` takes

import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { build, reportSizes } from "../build.mjs";
import { licenceOf, packageOfFile } from "../bundle/packages.mjs";
import { writeCliPackage } from "./cli.mjs";
import { writeJsr } from "./jsr.mjs";
import { emitModules } from "./modules.mjs";

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const dist = join(root, "dist");

/**
 * Makes Symbol.dispose known. GPUDevice is not: TypeScript's DOM library has it from version 6 on, and @webgpu/types, which is
 * for programs without the DOM library, clashes with it.
 */
const reference = `/// <reference lib="esnext.disposable" />\n`;

const { inlined, imported } = await build({ sourcemap: false });
writeFileSync(join(dist, "licenses.txt"), licences(inlined));
replaceFolder(join(dist, "esm"), (folder) => {
  const lib = ["ES2023", "ESNext.Disposable", "DOM", "DOM.Iterable", "DOM.AsyncIterable"];
  emitModules(
    folder,
    ["index", "ai-sdk/index", "store/index", "worker/index"].map((name) => `${name}.browser.ts`),
    { lib },
  );
  const others = ["index.node.ts", "index.deno.ts", "ai-sdk/index.node.ts", "ai-sdk/index.deno.ts"];
  emitModules(folder, others, { declarationsOnly: true });
  for (const entry of ["index.d.ts", "worker/index.browser.d.ts"]) {
    const file = join(folder, entry);
    writeFileSync(file, reference + readFileSync(file, "utf8"));
  }
});
replaceFolder(join(dist, "cli-package"), (folder) => writeCliPackage(folder, imported["cli.js"]));
replaceFolder(join(dist, "jsr"), writeJsr);
reportSizes();

/** Makes a folder aside and puts it in the old one's place, so that a failure leaves the old one. */
function replaceFolder(folder, fill) {
  const staging = `${folder}-${process.pid}`;
  const old = `${staging}-old`;
  try {
    mkdirSync(staging, { recursive: true });
    fill(staging);
    if (existsSync(folder)) renameSync(folder, old);
    renameSync(staging, folder);
  } finally {
    for (const leftover of [staging, old]) rmSync(leftover, { recursive: true, force: true });
  }
}

function licences(files) {
  const folders = [...new Set(files.map((file) => packageOfFile(join(root, file))))].sort();
  const sections = folders.map(licenceOf).map(({ title, details, texts }) => {
    return [`==== ${title}`, details, "", ...texts, ""].join("\n");
  });
  return `adaptvis is under Apache-2.0 (LICENSE). Its files in dist/ also hold parts of these packages.\n\n${sections.join("\n")}`;
}
