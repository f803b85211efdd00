// The kernels' pages of the documentation site, made from shaders, tests and the engine's own lists.
//   node tools/docs/kernels/make.mjs FOLDER     writes them into VitePress' source folder

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { bundleLive } from "./bundle-live.mjs";
import { ENTRIES, GROUPS } from "./groups.mjs";
import { indexPage, kernelPage, sharedPage } from "./page.mjs";
import { readSources } from "./sources.mjs";

const dist = join(dirname(fileURLToPath(import.meta.url)), "..", "..", "..", "dist");

/** Where the scripts of the live runs lie, below the site's root. */
const LIVE = "kernels-live";

/**
 * Writes `kernels/*.md`, and the scripts of the live runs below `public/`. The pages need markdown.math and {@link kernelHead}.
 * @param {string} outFolder VitePress' source folder
 * @returns {Promise<readonly string[]>} the Markdown files, relative to it
 */
export async function writeKernelPages(outFolder) {
  // Below the project, so that its packages are found.
  mkdirSync(dist, { recursive: true });
  const scratch = mkdtempSync(join(dist, ".kernel-pages-"));
  try {
    const sources = await readSources(scratch);
    const names = [...sources.kernels.keys()];
    for (const name of names) if (!ENTRIES.has(name)) throw new Error(`tools/docs/kernels/groups.mjs lacks ${name}.`);
    mkdirSync(join(outFolder, "kernels"), { recursive: true });
    const pages = [
      ["index", indexPage(sources)],
      ["shared", sharedPage(sources)],
      ...names.map((name) => [name, kernelPage(name, sources)]),
    ].map(([name, text]) => [`kernels/${name}.md`, text]);
    for (const [file, text] of pages) writeFileSync(join(outFolder, file), text);
    const live = join(outFolder, "public", LIVE);
    rmSync(live, { recursive: true, force: true });
    await bundleLive(live, names);
    return pages.map(([file]) => file);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

/** What VitePress' `head` needs for the live runs. @param {string} base the site's base path, ending with "/" */
export function kernelHead(base) {
  return [["script", { type: "module", src: `${base}${LIVE}/element.js` }]];
}

/**
 * The kernels as items of VitePress' sidebar, in the order in which a forward pass runs them. The groups do not collapse: VitePress
 * puts a button into a button there.
 */
export function kernelSidebar() {
  const page = (name) => ({ text: name, link: `/kernels/${name}` });
  const groups = GROUPS.map(({ title, kernels }) => ({
    text: title,
    items: Object.keys(kernels).map(page),
  }));
  return [{ text: "All kernels", link: "/kernels/" }, ...groups, { text: "Shared functions", link: "/kernels/shared" }];
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const files = await writeKernelPages(process.argv[2] ?? mkdtempSync(join(tmpdir(), "kernels-")));
  process.stdout.write(`${files.length} pages\n`);
}
