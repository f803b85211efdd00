// The packages as `npm pack` makes them, and the folder for JSR: made once, and again when a source has changed.

import { createHash } from "node:crypto";
import { cp, mkdir, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { join, relative } from "node:path";
import { repositoryRoot } from "../setup/bundle.ts";
import { runProgram } from "../setup/run-program.ts";

/** What is packed, in a folder that tests only read. */
export interface Packed {
  /** The tarball of adaptvis. */
  readonly library: string;
  /** The tarball of adaptvis-cli. */
  readonly command: string;
  /** The folder that `deno publish` takes. */
  readonly jsr: string;
}

const FOLDER = join(repositoryRoot, "node_modules", ".cache", "adaptvis-packed");

/** Everything that packages are made of. */
const INPUTS = [
  ...["src", "shaders", "weights/tiny-spatial", "tools/package", "tools/build.mjs", "tools/bundle/packages.mjs"],
  ...["package.json", "package-lock.json", "tsconfig.json", "README.md", "LICENSE", "CHANGELOG.md", "SECURITY.md"],
];

/** Packs the repository, which builds it, unless that was done since the last change. */
export async function packed(): Promise<Packed> {
  const stampFile = join(FOLDER, "stamp");
  const result = {
    library: join(FOLDER, "adaptvis.tgz"),
    command: join(FOLDER, "adaptvis-cli.tgz"),
    jsr: join(FOLDER, "jsr"),
  };
  const stamp = await inputsStamp();
  if ((await readFile(stampFile, "utf8").catch(() => "")) === stamp) return result;
  await rm(FOLDER, { recursive: true, force: true });
  await mkdir(FOLDER, { recursive: true });
  await rename(await npmPack("."), result.library);
  await rename(await npmPack("./dist/cli-package"), result.command);
  await cp(join(repositoryRoot, "dist", "jsr"), result.jsr, { recursive: true });
  await writeFile(stampFile, stamp);
  return result;
}

/** @returns the tarball. */
async function npmPack(folder: string): Promise<string> {
  const args = ["pack", folder, "--json", "--pack-destination", FOLDER];
  const { stdout, stderr, ending } = await runProgram("npm", args, { cwd: repositoryRoot });
  if (ending !== 0) throw new Error(`npm pack ${folder} ended with ${ending}:\n${stderr}`);
  // A list in npm 10, an object by package in npm 11.
  const report: unknown = JSON.parse(stdout.slice(stdout.search(/[[{]/)));
  const [first] = Object.values(report as Readonly<Record<string, { filename: string }>>); // as npm documents
  if (first === undefined) throw new Error(`npm pack reported no package: ${stdout}`);
  return join(FOLDER, first.filename);
}

/** A digest of name, size and time of every input. */
async function inputsStamp(): Promise<string> {
  const hash = createHash("sha256");
  const add = async (path: string): Promise<void> => {
    const stats = await stat(path);
    if (stats.isDirectory()) for (const name of (await readdir(path)).sort()) await add(join(path, name));
    else hash.update(`${relative(repositoryRoot, path)} ${stats.size} ${stats.mtimeMs}\n`);
  };
  for (const input of INPUTS) await add(join(repositoryRoot, input));
  return hash.digest("hex");
}
