// Imports a TypeScript module of the sources, which Node 20 does not read by itself.

import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import esbuild from "esbuild";

const root = join(dirname(fileURLToPath(import.meta.url)), "..", "..");

/**
 * @param {string} path from the repository's root, of a module that needs no host
 * @returns {Promise<Record<string, any>>} its exports
 */
export async function loadSource(path) {
  const { outputFiles } = await esbuild.build({
    absWorkingDir: root,
    entryPoints: [path],
    bundle: true,
    write: false,
    format: "esm",
    target: "es2023",
    loader: { ".wgsl": "text" },
    logLevel: "warning",
  });
  const [{ text }] = outputFiles;
  return await import(`data:text/javascript;base64,${Buffer.from(text).toString("base64")}`);
}
