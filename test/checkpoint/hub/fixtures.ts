// Repositories of the local hub, and settings of a client with its own cache.

import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { HubSettings } from "../../../src/checkpoint/hub/hub-settings.node.ts";
import { commitNamed, type HubRepo, type LocalHub } from "../../setup/local-hub.ts";

const root = fileURLToPath(new URL("../../..", import.meta.url));

/** Files of a model that no pull needs. */
const JUNK = {
  "README.md": "a model card",
  "pytorch_model.bin": "pickled",
  "onnx/model.onnx": "another form",
  ".gitattributes": "*.bin filter=lfs",
};

/** The commit that tiny-spatial is at in {@link tinySpatialRepo}. */
export const TINY_SPATIAL_COMMIT = commitNamed("tiny-spatial");

/** The embedded checkpoint as a repository, with files that a pull leaves out. */
export async function tinySpatialRepo(): Promise<HubRepo> {
  const files = new Map<string, Uint8Array>(await filesOf(join(root, "weights", "tiny-spatial")));
  for (const [path, text] of Object.entries(JUNK)) files.set(path, Buffer.from(text));
  return {
    revisions: { main: TINY_SPATIAL_COMMIT, "refs/pr/1": TINY_SPATIAL_COMMIT },
    commits: { [TINY_SPATIAL_COMMIT]: files },
  };
}

/** A checkpoint in three shards as a repository. */
export async function shardedRepo(): Promise<HubRepo> {
  const commit = commitNamed("sharded");
  const files = new Map(await filesOf(join(root, "test", "golden", "tiny-llava-f16-sharded")));
  files.delete("expected.safetensors");
  return { revisions: { main: commit }, commits: { [commit]: files } };
}

/** A repository with these files, on main. */
export function repoOf(files: Readonly<Record<string, string | Uint8Array>>, name = "repo"): HubRepo {
  const commit = commitNamed(name);
  const bytes = Object.entries(files).map(([path, content]) => [path, Buffer.from(content)] as const);
  return { revisions: { main: commit }, commits: { [commit]: new Map(bytes) } };
}

/** Settings of a client of `hub` with a new cache, without waiting between attempts. */
export async function settingsFor(hub: LocalHub, settings: Partial<HubSettings> = {}): Promise<HubSettings> {
  return {
    endpoint: hub.url,
    cacheFolder: join(await newFolder(), "hub"),
    token: undefined,
    isOffline: false,
    noSymlinks: false,
    hideProgress: false,
    metadataTimeoutMs: 60_000,
    stallTimeoutMs: 60_000,
    retryDelaysMs: [1, 1, 1],
    ...settings,
  };
}

/** A new folder; {@link removeFolders} removes it. */
export async function newFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "adaptvis-hub-"));
  folders.push(folder);
  return folder;
}

/** For a test file's afterAll. */
export async function removeFolders(): Promise<void> {
  for (const folder of folders.splice(0)) await rm(folder, { recursive: true, force: true });
}

const folders: string[] = [];

async function filesOf(folder: string): Promise<readonly (readonly [string, Uint8Array])[]> {
  const entries = await readdir(folder, { withFileTypes: true });
  const names = entries.filter((entry) => entry.isFile() && !entry.name.endsWith(".png")).map(({ name }) => name);
  return Promise.all(names.map(async (name) => [name, await readFile(join(folder, name))] as const));
}
