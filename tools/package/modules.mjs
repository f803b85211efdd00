// The engine as ES modules, one a source file, with the declaration file beside each: what a bundler takes apart and leaves out.

import { spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, posix, relative } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../..", import.meta.url));

/**
 * Writes what `entries` (files in src/) reach to `folder`: modules with their comments, declarations without what is
 * @internal, and the text of each kernel as a module under shaders/.
 * @param options.declarationsOnly leaves the modules out
 * @param options.lib TypeScript's libraries, where they are not those of the root's tsconfig.json
 * @throws Error when the compiler finds a fault; it has printed it.
 */
export function emitModules(folder, entries, { declarationsOnly = false, lib } = {}) {
  compile(folder, entries, { declarationsOnly, lib });
  const shaders = new Set();
  for (const file of filesUnder(folder)) {
    const text = readFileSync(file, "utf8");
    if (file.endsWith(".d.ts")) {
      // tsc changes the endings in modules only.
      writeFileSync(file, text.replaceAll(/(\bfrom |\bimport\(|\bimport )"(\.[^"]*)\.ts"/g, '$1"$2.js"'));
    } else if (file.endsWith(".js")) {
      const place = relative(folder, dirname(file)).split("\\").join("/");
      const moved = text.replaceAll(/\bfrom "([^"]*)\.wgsl"/g, (_, specifier) => {
        const shader = posix.join("src", place, specifier); // from the repository's root, where shaders/ is beside src/
        shaders.add(shader);
        const target = posix.relative(place, shader);
        return `from "${target.startsWith(".") ? target : `./${target}`}.js"`;
      });
      writeFileSync(file, moved);
    }
  }
  for (const shader of shaders) {
    const file = join(folder, `${shader}.js`);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, `export default ${asTemplate(readFileSync(join(root, `${shader}.wgsl`), "utf8"))};\n`);
  }
}

/** Every file under a folder, as paths. */
export function filesUnder(folder) {
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map(({ parentPath, name }) => join(parentPath, name));
}

function compile(folder, entries, { declarationsOnly, lib }) {
  mkdirSync(folder, { recursive: true });
  const config = join(folder, "tsconfig.json");
  const from = (path) => relative(folder, join(root, path));
  writeFileSync(
    config,
    JSON.stringify({
      extends: from("tsconfig.json"),
      compilerOptions: {
        noEmit: false,
        declaration: true,
        emitDeclarationOnly: declarationsOnly,
        ...(lib !== undefined && { lib }),
        stripInternal: true,
        rewriteRelativeImportExtensions: true,
        rootDir: from("src"),
        outDir: ".",
      },
      include: [],
      files: [...entries, "wgsl.d.ts"].map((entry) => from(join("src", entry))),
    }),
  );
  const tsc = join(root, "node_modules", "typescript", "bin", "tsc");
  const { status } = spawnSync(process.execPath, [tsc, "-p", config], { cwd: root, stdio: ["ignore", 2, 2] });
  rmSync(config);
  if (status !== 0) throw new Error(`package: the modules of ${entries.join(", ")} could not be made`);
}

function asTemplate(text) {
  return `\`${text.replaceAll(/[\\`]|\$\{/g, "\\$&")}\``;
}
