// Collects the site's pages in one folder: those of tools/docs, documents and sources of the repository that they link to, and
// pages made from data.

import { copyFileSync, existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { dirname, extname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { linksOf, repositoryFiles } from "./documents.mjs";
import { INTERVENTIONS_MARK, interventionSections } from "./interventions.mjs";
import { sitePathOf, targetOf } from "./site-paths.mjs";

const root = join(dirname(fileURLToPath(import.meta.url)), "..", "..");

/** Languages of the highlighter by a file's ending, where the two differ. */
const LANGUAGES = { mjs: "js", jsonl: "json", service: "ini", conf: "nginx", "": "text", txt: "text" };

/**
 * Writes the pages and `pages.json`, which names each one's file in the repository.
 * @param {string} out the folder; TypeDoc's pages may be in it already
 */
export async function stagePages(out) {
  const files = repositoryFiles();
  const waiting = files.filter(
    (file) => /^tools\/docs\/[^.].*\.md$/.test(file) && !/\/docs\/(README|api)\.md$/.test(file),
  );
  waiting.push("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "tools/bench/RESULTS.md");
  waiting.push("weights/tiny-habit/README.md", "weights/tiny-spatial/README.md");
  const interventions = await interventionSections();
  const sources = {};
  const seen = new Set();
  for (let file = waiting.pop(); file !== undefined; file = waiting.pop()) {
    if (seen.has(file) || !existsSync(join(root, file))) continue;
    seen.add(file);
    const isFolder = statSync(join(root, file)).isDirectory();
    const { kind, path } = sitePathOf(file, isFolder);
    if (kind === "playground") continue;
    sources[path] = isFolder ? `${file}/index.md` : file;
    if (kind === "page") {
      const text = readFileSync(join(root, file), "utf8").replace(INTERVENTIONS_MARK, interventions);
      write(join(out, path), text);
      waiting.push(...linkedFrom(text, file));
    } else if (kind === "source") write(join(out, path), sourcePage(file));
    else if (kind === "folder") {
      const { text, members } = folderPage(file, files);
      write(join(out, path), text);
      waiting.push(...members);
    } else {
      const target = join(out, "public", path);
      mkdirSync(dirname(target), { recursive: true });
      copyFileSync(join(root, file), target);
    }
  }
  writeFileSync(join(out, "pages.json"), JSON.stringify(sources));
}

/** Files of the repository that a document links to. */
function linkedFrom(text, file) {
  return linksOf(text).flatMap(({ href }) => targetOf(href, file)?.path ?? []);
}

/** A file's text, highlighted. */
function sourcePage(file) {
  const text = readFileSync(join(root, file), "utf8").trimEnd();
  const ending = extname(file).slice(1);
  const language = LANGUAGES[ending] ?? ending;
  const longest = Math.max(2, ...Array.from(text.matchAll(/`+/g), ([ticks]) => ticks.length));
  const fence = "`".repeat(longest + 1);
  return `${frontMatter(file)}# ${file}\n\n${fence}${language}\n${text}\n${fence}\n`;
}

/** What a folder has, with the first sentence of each file's header. */
function folderPage(name, files) {
  const members = files.filter((file) => file.startsWith(`${name}/`) && sitePathOf(file, false).kind !== "file");
  const rows = members.map((file) => `- [${file.slice(name.length + 1)}](${file.slice(name.length + 1)})`);
  return { text: `${frontMatter(name)}# ${name}\n\n${rows.join("\n")}\n`, members };
}

function frontMatter(title) {
  return `---\ntitle: ${JSON.stringify(title)}\nsearch: false\naside: false\npageClass: source\n---\n\n`;
}

function write(path, text) {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
}
