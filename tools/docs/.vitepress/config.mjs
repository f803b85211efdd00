// VitePress' settings. `make.mjs` collects the pages in dist/docs-pages first.

import { existsSync, readFileSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { slug } from "github-slugger";
import { defineConfig } from "vitepress";
import { kernelHead } from "../kernels/make.mjs";
import { sidebarsOf } from "../sidebar.mjs";
import { PLAYGROUND_PAGE, sitePathOf, targetOf } from "../site-paths.mjs";

const root = join(dirname(fileURLToPath(import.meta.url)), "..", "..", "..");
const staged = join(root, "dist", "docs-pages");
const sources = existsSync(join(staged, "pages.json"))
  ? JSON.parse(readFileSync(join(staged, "pages.json"), "utf8"))
  : {};
const base = process.env.ADAPTVIS_DOCS_BASE ?? "/";

export default defineConfig({
  title: "adaptvis",
  description: "Vision-language models on WebGPU in TypeScript, with attention that you can read and steer",
  lang: "en",
  base,
  srcDir: staged,
  outDir: join(root, "dist", "docs"),
  cacheDir: join(root, "dist", "docs-cache"),
  metaChunk: true, // in a file of its own: the sidebars would be most of every page
  ignoreDeadLinks: [/^\/playground\//, /^\/files\//], // of files that are no pages; check-links.mjs looks at them, too
  head: [["link", { rel: "icon", href: `${base}playground/sprites/mug.webp` }], ...kernelHead(base)],
  markdown: {
    math: true,
    theme: { light: "github-light-high-contrast", dark: "github-dark-high-contrast" },
    anchor: { slugify: slug },
    config: (markdown) => markdown.core.ruler.push("repository-links", rewriteLinks),
  },
  themeConfig: {
    nav: [
      { text: "Start", link: "/start/browser" },
      { text: "Method", link: "/method/" },
      { text: "Guide", link: "/guide/library" },
      { text: "API", link: "/api/" },
      { text: "Playground", link: `/${PLAYGROUND_PAGE}`, target: "_self" },
    ],
    sidebar: sidebarsOf(staged),
    outline: { level: [2, 3] },
    search: { provider: "local", options: { _render: textToSearch } },
    docFooter: { prev: "Previous", next: "Next" },
  },
  vite: {
    publicDir: join(staged, "public"),
    build: { chunkSizeWarningLimit: 4096 },
    server: { fs: { allow: [root] } },
  },
});

/** What the search finds of a page: nothing of source files, and code without colours, which take most of the time. */
function textToSearch(text, env, markdown) {
  if (env.relativePath.startsWith("source/")) return "";
  const { highlight } = markdown.options;
  markdown.options.highlight = (code) => `<pre><code>${markdown.utils.escapeHtml(code)}</code></pre>`;
  try {
    return markdown.render(text, env);
  } finally {
    markdown.options.highlight = highlight;
  }
}

/** Links to files of the repository lead to the pages that the site has in their place. */
function rewriteLinks({ tokens, env }) {
  const from = sources[env.relativePath];
  if (from === undefined) return;
  for (const { children } of tokens) {
    for (const token of children ?? []) {
      const name = token.type === "image" ? "src" : "href";
      const target = targetOf(token.attrGet(name) ?? "#", from);
      if (target === undefined) continue;
      const file = join(root, target.path);
      if (!existsSync(file)) continue; // left as it is, so that VitePress reports it
      const { kind, path } = sitePathOf(target.path, statSync(file).isDirectory());
      // VitePress puts the base in front of pages and pictures, but not of other files.
      const isOther = (kind === "file" || kind === "playground") && name === "href";
      token.attrSet(name, `${isOther ? base : "/"}${path}${target.hash}`);
      if (kind === "playground" || kind === "file") token.attrSet("target", "_self");
    }
  }
}
