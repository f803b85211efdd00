// Dead links: in the repository's Markdown, as GitHub shows it, and on the pages of the built site.

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, posix } from "node:path";
import { fileURLToPath } from "node:url";
import { Parser } from "htmlparser2";
import { anchorsOf, linksOf, repositoryFiles } from "./documents.mjs";
import { targetOf } from "./site-paths.mjs";

const root = join(dirname(fileURLToPath(import.meta.url)), "..", "..");

/** Links of Markdown files to files or headings that are not there, one sentence each. */
export function repositoryProblems() {
  const documents = repositoryFiles().filter((file) => file.endsWith(".md") && file !== "tools/docs/index.md");
  const texts = new Map(documents.map((file) => [file, readFileSync(join(root, file), "utf8")]));
  const anchors = new Map();
  const anchorsIn = (file) => {
    if (!anchors.has(file)) anchors.set(file, new Set(anchorsOf(texts.get(file) ?? "")));
    return anchors.get(file);
  };
  return documents.flatMap((file) =>
    linksOf(texts.get(file)).flatMap(({ href, line }) => {
      const target = href.startsWith("#") ? { path: file, hash: href } : targetOf(href, file);
      if (target === undefined) return [];
      const { path, hash } = target;
      if (!existsSync(join(root, path))) return [`${file}:${line}: ${href} leads nowhere: there is no ${path}`];
      if (hash === "" || !texts.has(path) || anchorsIn(path).has(decodeURIComponent(hash.slice(1)))) return [];
      return [`${file}:${line}: ${href} leads nowhere: ${path} has no such heading`];
    }),
  );
}

/**
 * Links, scripts and pictures of built pages that lead to a file or a place which the site does not have, and whatever they would
 * fetch from another host.
 * @param {string} out the site's folder
 * @param {string} base its path on the server
 */
export function siteProblems(out, base) {
  const files = readdirSync(out, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) =>
      posix.join(entry.parentPath.slice(out.length).replaceAll("\\", "/"), entry.name).replace(/^\//, ""),
    );
  const pages = new Map(
    files
      .filter((file) => file.endsWith(".html") && !file.startsWith("playground/"))
      .map((file) => [file, readPage(readFileSync(join(out, file), "utf8"))]),
  );
  const exists = new Set(files);
  return [...pages].flatMap(([file, { links, fetched }]) => {
    const problems = fetched
      .filter((address) => /^(https?:)?\/\//.test(address))
      .map((address) => `${file}: fetches ${address} from another host`);
    for (const href of new Set([...links, ...fetched])) {
      const url = new URL(href, `http://site${base}${file}`);
      if (url.host !== "site" || !url.protocol.startsWith("http")) continue;
      const path = decodeURIComponent(url.pathname);
      const inside = path.startsWith(base) ? path.slice(base.length) : undefined;
      const target =
        inside === undefined || inside === "" || inside.endsWith("/") ? `${inside ?? ""}index.html` : inside;
      if (inside === undefined || !exists.has(target)) problems.push(`${file}: ${href} leads nowhere`);
      else if (url.hash !== "" && pages.get(target)?.ids.has(decodeURIComponent(url.hash.slice(1))) === false)
        problems.push(`${file}: ${href} leads nowhere: ${target} has no such place`);
    }
    return problems;
  });
}

/** A page's ids, the targets of its links, and what it fetches when it is opened. */
function readPage(html) {
  const page = { ids: new Set(), links: [], fetched: [] };
  const parser = new Parser({
    onopentag(name, { id, href, src }) {
      if (id !== undefined) page.ids.add(id);
      if (name === "a" && href !== undefined) page.links.push(href);
      else if (name === "link" && href !== undefined) page.fetched.push(href);
      if (src !== undefined && !src.startsWith("data:")) page.fetched.push(src);
    },
  });
  parser.end(html);
  return page;
}
