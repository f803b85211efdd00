// The folder that `deno publish` takes: the modules of the engine with the types of each, and jsr.json.

import { copyFileSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { emitModules, filesUnder } from "./modules.mjs";

const root = fileURLToPath(new URL("../..", import.meta.url));

/** JSR has no conditions that choose by host: an entry each. */
const entries = { ".": "index.js", "./browser": "index.browser.js", "./deno": "index.deno.js" };

/** Fills `folder`; version, licence and versions of dependencies are package.json's. */
export function writeJsr(folder) {
  const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  const { version, license } = manifest;
  const versions = { ...manifest.devDependencies, ...manifest.dependencies };
  emitModules(folder, ["index.browser.ts", "index.deno.ts"]);
  for (const file of filesUnder(folder)) {
    const text = readFileSync(file, "utf8");
    writeFileSync(
      file,
      file.endsWith(".d.ts")
        ? // From declarations to declarations: through the modules Deno would take those of inner parts for public, too.
          text.replaceAll(/"(\.[^"]*)\.js"/g, '"$1.d.ts"')
        : text.replaceAll(/\b(from |import\()"((?:@[\w-]+\/)?[\w-]+)((?:\/[^"]*)?)"/g, (_, before, name, path) => {
            return `${before}"npm:${name}@${rangeOf(name, versions)}${path}"`;
          }),
    );
  }
  for (const entry of Object.values(entries)) {
    const file = join(folder, entry);
    const types = `/* @ts-self-types="./${entry.replace(/js$/, "d.ts")}" */\n`;
    writeFileSync(file, types + readFileSync(file, "utf8"));
  }
  const exports = Object.fromEntries(Object.entries(entries).map(([name, file]) => [name, `./${file}`]));
  const jsr = { name: "@adaptvis/adaptvis", version, license, exports };
  writeFileSync(join(folder, "jsr.json"), `${JSON.stringify(jsr, undefined, 2)}\n`);
  for (const name of ["README.md", "LICENSE", "CHANGELOG.md"]) copyFileSync(join(root, name), join(folder, name));
}

function rangeOf(name, versions) {
  const range = versions[name];
  if (range === undefined) throw new Error(`package: the modules import ${name}, which package.json does not name`);
  return range;
}
