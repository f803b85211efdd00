// The code on the site's pages. A comment in front of a block says how it is tested, if it is not run as it stands:
//   <!-- snippet: flags only; REASON -->         sh: its commands parse, but are not run
//   <!-- snippet: types only; REASON -->         ts: its types are right, but it is not run
//   <!-- snippet: continues PAGE -->             ts: comes after the blocks of that page; also after "types only, "
//   <!-- snippet: not run; REASON -->            another program's; the shell's syntax is checked
//   <!-- snippet: tested by TEST -->             a test that reads this page
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "../cli/command.ts";

/** A block of code on a page. */
export interface Snippet {
  /** From tools/docs. */
  readonly page: string;
  /** Of its first line. */
  readonly line: number;
  readonly language: string;
  readonly code: string;
  readonly mode: "run" | "flags only" | "types only" | "not run" | "tested by";
  /** The page whose blocks come before it. */
  readonly continues: string | undefined;
  /** Why it is not run, or the test's path. */
  readonly reason: string;
}

/** The folder with the pages. */
export const docs = join(root, "tools", "docs");

/** Every page that is written by hand, from tools/docs. */
export const pages: readonly string[] = readdirSync(docs, { withFileTypes: true })
  .filter(({ name }) => name !== "node_modules")
  .flatMap((entry) =>
    entry.isDirectory() ? readdirSync(join(docs, entry.name)).map((name) => `${entry.name}/${name}`) : entry.name,
  )
  .filter((name) => name.endsWith(".md"))
  .sort();

/** All blocks of all pages, in order. @throws when a comment is not understood or a reason is missing. */
export function snippets(): readonly Snippet[] {
  return pages.flatMap((page) => {
    const text = readFileSync(join(docs, page), "utf8");
    const blocks = text.matchAll(/(?:^ *<!-- snippet: ([^\n]*) -->\n\n)?^( *)(`{3,})(\w+)\n(.*?)\n\2\3$/gms);
    return Array.from(blocks, (block) => {
      const [whole, comment, indent = "", , language = "", code = ""] = block;
      const line = text.slice(0, block.index + whole.indexOf("```")).split("\n").length + 1;
      const plain = code.replaceAll(new RegExp(`^${indent}`, "gm"), "");
      return { page, line, language, code: plain, ...modeOf(comment, `${page}:${line}`) };
    });
  });
}

function modeOf(comment: string | undefined, where: string): Pick<Snippet, "mode" | "continues" | "reason"> {
  if (comment === undefined) return { mode: "run", continues: undefined, reason: "" };
  const tested = /^tested by (test\/\S+)$/.exec(comment)?.[1];
  if (tested !== undefined) return { mode: "tested by", continues: undefined, reason: tested };
  const parts = /^(flags only|types only|not run)?(?:, )?(?:continues (\S+\.md))?(?:; (.+))?$/.exec(comment);
  const [, name, continues, reason = ""] = parts ?? [];
  const mode = (["flags only", "types only", "not run"] as const).find((known) => known === name) ?? "run";
  if (parts === null || (mode === "run") !== (reason === ""))
    throw new Error(`${where}: a snippet's comment says how it is tested and why, got ${comment}`);
  return { mode, continues, reason };
}
