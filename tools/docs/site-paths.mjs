// Which page of the site a file of the repository becomes. Paths are relative to the repository's root or the site's, with "/".

import { posix } from "node:path";

/** Documents that live elsewhere in the repository, and where the site has them. */
const ELSEWHERE = {
  "README.md": "reference/readme.md",
  "CONTRIBUTING.md": "contributing/index.md",
  "CHANGELOG.md": "reference/changelog.md",
  "SECURITY.md": "reference/security.md",
  LICENSE: "reference/licence.md",
  "test/golden/README.md": "contributing/goldens.md",
  "tools/bench/RESULTS.md": "reference/measurements.md",
  "tools/mutation/README.md": "contributing/mutation.md",
  "tools/python/README.md": "guide/python-package.md",
  "weights/tiny-habit/README.md": "reference/tiny-habit.md",
  "weights/tiny-spatial/README.md": "reference/tiny-spatial.md",
  "tools/docs/README.md": "index.md",
};

/** A link to the playground's sources leads to the playground itself. */
const PLAYGROUND = "src/app";
export const PLAYGROUND_PAGE = "playground/index.html";

const isText =
  /(^[A-Z]\w+|\.(ts|tsx|mjs|js|wgsl|json|jsonl|md|py|sh|toml|txt|css|html|yaml|yml|conf|service|jinja)|\/Containerfile)$/;
const isPicture = /\.(png|jpe?g|webp|svg|gif)$/;

/**
 * What a file or folder becomes.
 * @param {string} path in the repository
 * @param {boolean} isFolder
 * @returns {{ kind: "page" | "source" | "folder" | "file" | "playground", path: string }} `path` is that of a Markdown page on
 *   the site, or of a file
 */
export function sitePathOf(path, isFolder) {
  if (path === PLAYGROUND) return { kind: "playground", path: PLAYGROUND_PAGE };
  if (isFolder) return { kind: "folder", path: `source/${path}/index.md` };
  const elsewhere = ELSEWHERE[path];
  if (elsewhere !== undefined) return { kind: path.endsWith(".md") ? "page" : "source", path: elsewhere };
  if (path.startsWith("tools/docs/") && path.endsWith(".md")) return { kind: "page", path: path.slice(11) };
  if (path.endsWith(".md")) return { kind: "page", path: `source/${path}` };
  if (isText.test(path) && !isPicture.test(path)) return { kind: "source", path: `source/${path}.md` };
  return { kind: "file", path: `files/${path}` };
}

/**
 * The file that a relative link of a document leads to.
 * @returns {{ path: string, hash: string } | undefined} undefined for an address, and for a place on the same page
 */
export function targetOf(href, from) {
  if (/^([a-z][a-z+.-]*:|#|\/)/i.test(href)) return undefined;
  const [path = "", hash] = decodeURI(href).split("#");
  return { path: posix.join(posix.dirname(from), path).replace(/\/$/, ""), hash: hash === undefined ? "" : `#${hash}` };
}
