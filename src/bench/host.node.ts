// The bench on Node: the machine and versions of a run, and random checkpoints on disk.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { copyFile, rename, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { arch, cpus, platform, release, tmpdir, totalmem } from "node:os";
import { dirname, join } from "node:path";
import { denoVersion, isDeno } from "../gpu/hosts/adapter.deno.ts";
import type { OpenedAdapter } from "../gpu/hosts/adapter-choice.node.ts";
import { cachesFolder, makeFolder } from "../gpu/hosts/user-folders.node.ts";
import { type CheckpointSpec, checkpointFiles, GENERATOR_VERSION } from "./random-checkpoint.ts";
import type { Stamp } from "./report.ts";

/** Stamps a run on `adapter`; `folder` is this package's. */
export function stampRun(
  opened: OpenedAdapter,
  run: Pick<Stamp, "options" | "tuningKey"> & { readonly folder: string; readonly version: string },
): Stamp {
  const { info, features, limits } = opened.adapter;
  return {
    date: new Date().toISOString(),
    revision: revisionOf(run.folder),
    versions: { adaptvis: run.version, ...hostVersions() },
    cpu: cpus()[0]?.model.trim() ?? "unknown",
    numCpus: cpus().length,
    memoryBytes: totalmem(),
    platform: `${platform()} ${release()} ${arch()}`,
    adapter: {
      kind: opened.kind,
      isSoftware: opened.isSoftware,
      description: opened.description,
      info: {
        vendor: info.vendor,
        architecture: info.architecture,
        device: info.device,
        description: info.description,
      },
      features: [...features].sort(),
      limits: {
        maxBufferSize: limits.maxBufferSize,
        maxStorageBufferBindingSize: limits.maxStorageBufferBindingSize,
        maxComputeWorkgroupStorageSize: limits.maxComputeWorkgroupStorageSize,
        maxComputeInvocationsPerWorkgroup: limits.maxComputeInvocationsPerWorkgroup,
      },
    },
    tuningKey: run.tuningKey,
    options: run.options,
  };
}

function hostVersions(): Readonly<Record<string, string>> {
  return isDeno()
    ? { "deno (its own WebGPU)": denoVersion() }
    : { node: process.version, "webgpu (Dawn)": versionOf("webgpu") ?? "unknown" };
}

/** The checkout's revision, followed by + when files differ from it; for a package, the revision that it was built from, if known. */
function revisionOf(folder: string): string | null {
  if (!existsSync(join(folder, ".git"))) return manifestText(folder, "gitHead") ?? null;
  const git = (...args: string[]) => spawnSync("git", args, { cwd: folder, encoding: "utf8" });
  const head = git("rev-parse", "--short", "HEAD");
  if (head.status !== 0) return null;
  const isChanged = git("status", "--porcelain", "--untracked-files=no").stdout !== "";
  return `${head.stdout.trim()}${isChanged ? "+" : ""}`;
}

/** The version of an installed package, from the package.json above its entry. */
function versionOf(name: string): string | undefined {
  const entry = createRequire(import.meta.url).resolve(name);
  for (let folder = dirname(entry); folder !== dirname(folder); folder = dirname(folder)) {
    const version = manifestText(folder, "version");
    if (version !== undefined) return version;
  }
  return undefined;
}

/** A string from a folder's package.json. */
function manifestText(folder: string, key: "version" | "gitHead"): string | undefined {
  const file = join(folder, "package.json");
  if (!existsSync(file)) return undefined;
  const manifest: unknown = JSON.parse(readFileSync(file, "utf8"));
  const value: unknown = manifest instanceof Object ? Reflect.get(manifest, key) : undefined;
  return typeof value === "string" ? value : undefined;
}

/** Files copied from the embedded checkpoint: its tokenizer's ids are within every bench vocabulary. */
const TOKENIZER_FILES = ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja"];

/** The folder of the bench's checkpoints, by the XDG base directory specification. */
export function benchCacheFolder(): string {
  return join(cachesFolder() ?? tmpdir(), "adaptvis", "bench");
}

/**
 * The folder of a spec's checkpoint in `cacheFolder`, created if missing.
 * @param tokenizerFolder the checkpoint to copy tokenizer files from
 */
export async function cachedCheckpoint(
  spec: CheckpointSpec,
  { cacheFolder, tokenizerFolder }: { readonly cacheFolder: string; readonly tokenizerFolder: string },
): Promise<string> {
  const digest = createHash("sha256")
    .update(JSON.stringify([GENERATOR_VERSION, spec]))
    .digest("hex")
    .slice(0, 16);
  const folder = join(cacheFolder, `${spec.name}-${digest}`);
  if (existsSync(join(folder, "config.json"))) return folder;
  const staging = `${folder}.${process.pid}.part`;
  await rm(staging, { recursive: true, force: true });
  await makeFolder(staging);
  try {
    for (const name of TOKENIZER_FILES) await copyFile(join(tokenizerFolder, name), join(staging, name));
    for (const { name, content } of checkpointFiles(spec)) await writeFile(join(staging, name), content);
    await rm(folder, { recursive: true, force: true });
    await rename(staging, folder);
  } catch (error) {
    await rm(staging, { recursive: true, force: true });
    throw error;
  }
  return folder;
}
