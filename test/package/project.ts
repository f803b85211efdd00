// A project of a user's in a temporary folder, with adaptvis in it as `npm pack` makes it.

import { createReadStream } from "node:fs";
import { chmod, mkdir, mkdtemp, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { pipeline } from "node:stream/promises";
import { createGunzip } from "node:zlib";
import { extract, type Headers } from "tar-fs";
import { repositoryRoot } from "../setup/bundle.ts";
import { packed } from "./packed.ts";

/** What tests read of a package.json. */
export interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly exports: Readonly<Record<string, unknown>>;
  readonly bin: Readonly<Record<string, string>>;
  readonly types: string;
  readonly jsdelivr: string;
  readonly unpkg: string;
  readonly sideEffects: boolean;
  readonly dependencies: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
  readonly peerDependencies: Readonly<Record<string, string>>;
  readonly peerDependenciesMeta: Readonly<Record<string, { readonly optional: boolean }>>;
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

/** What programs in Node and Deno install beside the library: WebGPU, picture files, and SwiftShader. */
export const NODE_PACKAGES: readonly string[] = ["webgpu", "sharp", "@sparticuz/chromium", "tar-fs"];

/**
 * Unpacks the packed library into a new project.
 *
 * What npm would install beside it comes by links from the repository's own node_modules: only what the package depends on, and
 * no network. `tools` are packages that the project itself would install, such as its bundler, or the library's peers.
 */
export async function makeProject(tools: readonly string[] = []): Promise<Project> {
  const folder = await mkdtemp(join(tmpdir(), "adaptvis-package-"));
  const { library } = await packed();
  await writeFile(join(folder, "package.json"), JSON.stringify({ private: true, type: "module" }));
  const target = join(folder, "node_modules", "adaptvis");
  const manifest = await unpack(library, target);
  await link(folder, [...Object.keys(manifest.dependencies), ...tools]);
  const remove = () => rm(folder, { recursive: true, force: true });
  return { folder, package: target, manifest, packedBytes: (await stat(library)).size, remove };
}

/**
 * Installs the packed command in a project, beside the library that it depends on.
 * @returns its package.json, and the file that npm would link as the command.
 */
export async function addCommand(project: Project): Promise<{ readonly manifest: Manifest; readonly program: string }> {
  const target = join(project.folder, "node_modules", "adaptvis-cli");
  const manifest = await unpack((await packed()).command, target);
  const needed = Object.keys({ ...manifest.dependencies, ...manifest.optionalDependencies });
  await link(
    project.folder,
    needed.filter((name) => name !== "adaptvis"),
  );
  const program = join(target, String(manifest.bin.adaptvis));
  await chmod(program, 0o755); // as npm does when it installs a command
  return { manifest, program };
}

async function unpack(tarball: string, target: string): Promise<Manifest> {
  const strip = (header: Headers) => ({ ...header, name: header.name.replace(/^package\//, "") });
  await pipeline(createReadStream(tarball), createGunzip(), extract(target, { map: strip }));
  return JSON.parse(await readFile(join(target, "package.json"), "utf8")) as Manifest; // ours
}

async function link(folder: string, names: readonly string[]): Promise<void> {
  for (const name of names) {
    const path = join(folder, "node_modules", name);
    await mkdir(dirname(path), { recursive: true });
    await symlink(join(repositoryRoot, "node_modules", name), path).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "EEXIST") throw error;
    });
  }
}
