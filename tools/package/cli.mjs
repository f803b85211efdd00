// The package adaptvis-cli: the command, and what it needs beyond the library. Its versions are those of the root's package.json.

import { chmodSync, copyFileSync, cpSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../..", import.meta.url));

/** What the command reads or is asked for by another package, but does not import: fonts, a peer of hono's. */
const UNSEEN = ["@fontsource/dejavu-sans", "zod"];
/** Not on every platform, and not needed where there is another adapter. */
const OPTIONAL = ["@sparticuz/chromium", "tar-fs"];
/** Installed by those who use them. */
const PEERS = ["bullmq", "ioredis"];

/**
 * Fills `folder`.
 * @param imported the npm packages that dist/cli.js imports
 */
export function writeCliPackage(folder, imported) {
  const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  const { version, license, engines, keywords } = manifest;
  const versions = { ...manifest.devDependencies, ...manifest.dependencies };
  const needed = [...imported, ...UNSEEN].filter((name) => ![...OPTIONAL, ...PEERS].includes(name)).sort();
  const bin = join(folder, "dist", "cli.js");
  mkdirSync(join(folder, "dist"));
  copyFileSync(join(root, "dist", "cli.js"), bin);
  chmodSync(bin, 0o755);
  copyFileSync(join(root, "LICENSE"), join(folder, "LICENSE"));
  writeFileSync(join(folder, "README.md"), README);
  // What `adaptvis demo` asks; the library brings the other embedded checkpoint.
  const weights = join(root, "weights", "tiny-habit");
  cpSync(weights, join(folder, "weights", "tiny-habit"), {
    recursive: true,
    filter: (path) => !/^(benchmark|heat-map\.png)/.test(relative(weights, path)),
  });
  const own = {
    name: "adaptvis-cli",
    version,
    description: "The command adaptvis: questions about pictures, evaluations, traces, and a server, on WebGPU",
    keywords,
    license,
    type: "module",
    engines,
    bin: { adaptvis: "dist/cli.js" },
    files: ["dist/cli.js", "weights/tiny-habit"],
    dependencies: { adaptvis: version, ...pick(needed, versions) },
    optionalDependencies: pick(OPTIONAL, versions),
    peerDependencies: pick(PEERS, versions),
    peerDependenciesMeta: Object.fromEntries(PEERS.map((name) => [name, { optional: true }])),
  };
  writeFileSync(join(folder, "package.json"), `${JSON.stringify(own, undefined, 2)}\n`);
}

function pick(names, versions) {
  return Object.fromEntries(
    names.map((name) => {
      const range = versions[name];
      if (range === undefined)
        throw new Error(`package: the command imports ${name}, which package.json does not name`);
      return [name, range];
    }),
  );
}

const README = `# adaptvis-cli

The command \`adaptvis\`: asks vision-language models about pictures, evaluates them, looks into them, and serves them with OpenAI's
protocol, on WebGPU in Node. The library is the package [\`adaptvis\`](https://www.npmjs.com/package/adaptvis), which needs none of this
package's dependencies.

\`\`\`sh
npx adaptvis-cli ask --image photo.jpg "Where is the mug in relation to the dog?"   # without an install
npm install --global adaptvis-cli                                                   # then the command is adaptvis
adaptvis doctor
adaptvis --help
\`\`\`

It needs Node 20.19 or newer. \`eval --queue\` and \`worker\` also need \`npm install bullmq ioredis\`.
`;
