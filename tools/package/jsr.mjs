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
  const { version, license, dependencies } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  emitModules(folder, ["index.browser.ts", "index.deno.ts"]);
  const imports = new Set();
  for (const file of filesUnder(folder)) {
    const text = readFileSync(file, "utf8");
    if (file.endsWith(".d.ts")) {
      // From declarations to declarations: through the modules Deno would take those of inner parts for public, too.
      writeFileSync(file, text.replaceAll(/"(\.[^"]*)\.js"/g, '"$1.d.ts"'));
    } else {
      for (const [, name] of text.matchAll(/\b(?:from |import\()"((?:@[\w-]+\/)?[\w-]+)[^":]*"/g)) imports.add(name);
    }
  }
  for (const entry of Object.values(entries)) {
    const file = join(folder, entry);
    const types = `/* @ts-self-types="./${entry.replace(/js$/, "d.ts")}" */\n`;
    writeFileSync(file, types + readFileSync(file, "utf8"));
  }
  const manifest = {
    name: "@adaptvis/adaptvis",
    version,
    license,
    exports: Object.fromEntries(Object.entries(entries).map(([name, file]) => [name, `./${file}`])),
    imports: Object.fromEntries([...imports].sort().flatMap((name) => mappings(name, dependencies[name]))),
  };
  writeFileSync(join(folder, "jsr.json"), `${JSON.stringify(manifest, undefined, 2)}\n`);
  for (const name of ["README.md", "LICENSE", "CHANGELOG.md"]) copyFileSync(join(root, name), join(folder, name));
}

/** A package and what lies in it. */
function mappings(name, range) {
  if (range === undefined)
    throw new Error(`package: the modules import ${name}, which package.json does not depend on`);
  return [
    [name, `npm:${name}@${range}`],
    [`${name}/`, `npm:/${name}@${range}/`],
  ];
}
