// A project of a user's in a temporary folder, with adaptvis in it as `npm pack` makes it.

import { createReadStream } from "node:fs";
import { chmod, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { pipeline } from "node:stream/promises";
import { createGunzip } from "node:zlib";
import { extract, type Headers } from "tar-fs";
import { repositoryRoot } from "../setup/bundle.ts";
import { runProgram } from "../setup/run-program.ts";

/** What tests read of a package.json. */
export interface Manifest {
  readonly version: string;
  readonly exports: Readonly<Record<string, unknown>>;
  readonly bin: Readonly<Record<string, string>>;
  readonly types: string;
  readonly jsdelivr: string;
  readonly unpkg: string;
  readonly sideEffects: boolean;
  readonly dependencies: Readonly<Record<string, string>>;
}

/** A temporary project. */
export interface Project {
  readonly folder: string;
  /** node_modules/adaptvis in it. */
  readonly package: string;
  readonly manifest: Manifest;
  /** Bytes of the tarball. */
  readonly packedBytes: number;
  /** Removes the folder. */
  readonly remove: () => Promise<void>;
}

/**
 * Packs the repository with `npm pack`, which builds it, and unpacks the tarball into a new project.
 *
 * What npm would install beside it comes by links from the repository's own node_modules: only what the package declares, and
 * no network. `tools` are packages that the project itself would install, such as its bundler.
 */
export async function makeProject(tools: readonly string[] = []): Promise<Project> {
  const folder = await mkdtemp(join(tmpdir(), "adaptvis-package-"));
  const npm = ["pack", "--json", "--pack-destination", folder];
  const { stdout, stderr, ending } = await runProgram("npm", npm, { cwd: repositoryRoot });
  if (ending !== 0) throw new Error(`npm pack ended with ${ending}:\n${stderr}`);
  const { filename, size } = packed(stdout);
  const target = join(folder, "node_modules", "adaptvis");
  const strip = (header: Headers) => ({ ...header, name: header.name.replace(/^package\//, "") });
  await pipeline(createReadStream(join(folder, filename)), createGunzip(), extract(target, { map: strip }));
  await rm(join(folder, filename));
  const manifest = JSON.parse(await readFile(join(target, "package.json"), "utf8")) as Manifest; // ours
  await writeFile(join(folder, "package.json"), JSON.stringify({ private: true, type: "module" }));
  for (const name of [...Object.keys(manifest.dependencies), "@sparticuz/chromium", "tar-fs", ...tools]) {
    const link = join(folder, "node_modules", name);
    await mkdir(dirname(link), { recursive: true });
    await symlink(join(repositoryRoot, "node_modules", name), link);
  }
  await chmod(join(target, String(manifest.bin.adaptvis)), 0o755); // as npm does when it installs a command
  const remove = () => rm(folder, { recursive: true, force: true });
  return { folder, package: target, manifest, packedBytes: size, remove };
}

/** npm's report: a list in npm 10, an object by package in npm 11. */
function packed(json: string): { readonly filename: string; readonly size: number } {
  const report: unknown = JSON.parse(json.slice(json.search(/[[{]/)));
  const [first] = Object.values(report as Readonly<Record<string, { filename: string; size: number }>>); // as npm documents
  if (first === undefined) throw new Error(`npm pack reported no package: ${json}`);
  return first;
}
