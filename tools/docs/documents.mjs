// The repository's Markdown: its files, links and headings, read as GitHub reads them.

import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import GithubSlugger from "github-slugger";
import MarkdownIt from "markdown-it";

const root = join(dirname(fileURLToPath(import.meta.url)), "..", "..");
const markdown = new MarkdownIt({ html: true, linkify: true });

/** Every file that is or could be committed, sorted. */
export function repositoryFiles() {
  const git = spawnSync("git", ["ls-files", "-z", "--cached", "--others", "--exclude-standard"], {
    cwd: root,
    encoding: "utf8",
    maxBuffer: 2 ** 26,
  });
  if (git.status !== 0) throw new Error(`git ls-files: ${git.stderr || git.error}`);
  const names = new Set(git.stdout.split("\0").filter((name) => name !== "" && existsSync(join(root, name))));
  return [...names].sort();
}

/**
 * Links and pictures of a text, in order.
 * @param {string} text Markdown
 * @returns {{ href: string, line: number }[]} lines from 1
 */
export function linksOf(text) {
  let line = 1;
  return markdown.parse(withoutFrontMatter(text), {}).flatMap(({ children, map }) => {
    line = (map?.[0] ?? line - 1) + 1;
    const targets = (children ?? []).flatMap((token) => token.attrGet("href") ?? token.attrGet("src") ?? []);
    return targets.map((href) => ({ href, line }));
  });
}

/** The anchors of a text's headings. */
export function anchorsOf(text) {
  const slugger = new GithubSlugger();
  const tokens = markdown.parse(withoutFrontMatter(text), {});
  return tokens.flatMap(({ type }, index) => {
    if (type !== "heading_open") return [];
    const children = tokens[index + 1]?.children ?? [];
    const title = children.map(({ type: kind, content }) => (kind === "text" || kind === "code_inline" ? content : ""));
    return slugger.slug(title.join(""));
  });
}

/** Keeps the number of lines. */
function withoutFrontMatter(text) {
  return text.replace(/^---\n.*?\n---\n/s, (matter) => matter.replaceAll(/[^\n]/g, ""));
}
