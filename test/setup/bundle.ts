// Bundles a test program for the host it runs in, as tools/build.mjs does the product.

import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

/** The repository's root folder. */
export const repositoryRoot = fileURLToPath(new URL("../..", import.meta.url));

/** A folder for programs of this test process, inside node_modules so that they find npm packages; remove it at the end. */
export const programFolder = join(repositoryRoot, "node_modules", ".cache", `adaptvis-test-${process.pid}`);

/** Bundles `entry` (a path from the repository's root) as an ES module into the program folder. @returns its path. */
export async function bundleProgram(entry: string, host: "node" | "browser" | "deno"): Promise<string> {
  await mkdir(programFolder, { recursive: true });
  const outfile = join(programFolder, `${entry.replaceAll("/", "-")}.${host}.mjs`);
  await build({
    absWorkingDir: repositoryRoot,
    entryPoints: [entry],
    outfile,
    bundle: true,
    format: "esm",
    platform: host === "deno" ? "neutral" : host,
    ...(host === "deno" && { external: ["node:*"] }),
    ...(host === "node" && { packages: "external" as const }),
    loader: { ".wgsl": "text" },
    logLevel: "warning",
  });
  return outfile;
}

/** Removes what `bundleProgram` wrote; for a test file's afterAll. */
export async function removePrograms(): Promise<void> {
  await rm(programFolder, { recursive: true, force: true });
}
