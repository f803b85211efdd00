// The site's tables of contents: the lists of README.md in this folder, the kernels, and the API.

import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { kernelSidebar } from "./kernels/make.mjs";
import { sitePathOf } from "./site-paths.mjs";

const folder = dirname(fileURLToPath(import.meta.url));

/**
 * The groups of README.md: its headings, and the links below each.
 * @returns {{ text: string, items: { text: string, file: string }[] }[]} files of the repository
 */
export function contents() {
  const groups = [];
  for (const line of readFileSync(join(folder, "README.md"), "utf8").split("\n")) {
    const [, heading] = /^## (.*)$/.exec(line) ?? [];
    if (heading !== undefined) groups.push({ text: heading, items: [] });
    const [, text, href] = /^- \[([^\]]+)\]\(([^)]+)\)/.exec(line) ?? [];
    if (text !== undefined)
      groups.at(-1)?.items.push({ text, file: new URL(href, "file:///tools/docs/").pathname.slice(1) });
  }
  return groups;
}

/**
 * VitePress' sidebars: the contents, below /kernels/ the kernels, and below /api/ the API's; on a page there only what is of its
 * kind, since all of it would be most of every page.
 */
export function sidebarsOf(staged) {
  const groups = contents().map(({ text, items }) => ({
    text,
    items: items.map((item) => ({ text: item.text, link: `/${sitePathOf(item.file, false).path}` })),
  }));
  const api = join(staged, "api", "typedoc-sidebar.json");
  const modules = existsSync(api) ? JSON.parse(readFileSync(api, "utf8")).flatMap(modulesOf) : [];
  const overview = { text: "API", link: "/api/" };
  groups.at(-1)?.items.unshift(overview);
  const back = [{ text: "All pages", link: "/" }, overview];
  const sidebars = { "/api/": [...back, ...modules], "/kernels/": [back[0], ...kernelSidebar()], "/": groups };
  for (const module of modules) {
    for (const kind of module.items ?? []) {
      const folder = kind.items?.[0]?.link.replace(/[^/]+$/, "");
      if (folder !== undefined) sidebars[folder] = [...back, { text: module.text, link: module.link }, kind];
    }
  }
  return sidebars;
}

/** TypeDoc puts a module whose name has a slash into a group, which has no page. */
function modulesOf({ text, link, items = [] }) {
  if (link !== undefined) return [opened({ text, link, items })];
  return items.flatMap((item) => modulesOf({ ...item, text: `${text}/${item.text}` }));
}

/** Without the buttons that open and close groups: they hold further ones, which screen readers do not find. */
function opened({ text, link, items }) {
  return { text, ...(link !== undefined && { link }), ...(items !== undefined && { items: items.map(opened) }) };
}
