// A temporary copy of the checkout to mutate, so that the checkout itself is never changed.

import { spawnSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

/** The checkout. */
export const root = fileURLToPath(new URL("../..", import.meta.url));

/** Large folders that no mutation touches: linked, not copied. */
const linked = ["weights", "test/golden"];

/** Paths of every file that is or could be committed. */
export function listFiles() {
  const names = git(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]).split("\0");
  return [...new Set(names)].filter((name) => name !== "" && existsSync(join(root, name))).sort();
}

/** Paths of the files that differ from a revision. @param {string} revision @throws when git does not know it */
export function changedSince(revision) {
  const changed = git(["diff", "--name-only", "-z", revision, "--"]).split("\0");
  const untracked = git(["ls-files", "-z", "--others", "--exclude-standard"]).split("\0");
  return new Set([...changed, ...untracked].filter((name) => name !== ""));
}

/** The commit that is checked out, with `+` after it when files differ from it. */
export function revision() {
  return git(["rev-parse", "--short", "HEAD"]).trim() + (git(["status", "--porcelain"]).trim() === "" ? "" : "+");
}

/**
 * Copies the checkout's files into a new temporary folder, which is removed when this process exits.
 * @returns {string} the folder
 */
export function copyCheckout() {
  const copy = mkdtempSync(join(tmpdir(), "adaptvis-mutation-"));
  process.on("exit", () => rmSync(copy, { recursive: true, force: true, maxRetries: 5 }));
  for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => process.exit(130));
  for (const file of listFiles()) {
    // A link to node_modules, as in a git worktree, is listed as a file.
    if (/(^|\/)node_modules$/.test(file) || linked.some((folder) => file.startsWith(`${folder}/`))) continue;
    mkdirSync(dirname(join(copy, file)), { recursive: true });
    copyFileSync(join(root, file), join(copy, file));
  }
  for (const folder of linked) symlinkSync(join(root, folder), join(copy, folder), "junction");
  // A folder of links and not one link, because vite writes its cache into node_modules.
  mkdirSync(join(copy, "node_modules"));
  for (const name of readdirSync(join(root, "node_modules"))) {
    if (!/^\.(?!bin$)/.test(name)) symlinkSync(join(root, "node_modules", name), join(copy, "node_modules", name));
  }
  return copy;
}

function git(args) {
  const { status, stdout, stderr, error } = spawnSync("git", args, {
    cwd: root,
    encoding: "utf8",
    maxBuffer: 64 * 2 ** 20,
  });
  if (status !== 0) throw new Error(`git ${args.join(" ")}: ${stderr || error}`);
  return stdout;
}
