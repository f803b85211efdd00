// A folder for what is made once and used by later runs. Libraries are loaded from it, so that nobody else may be able to write to it,
// and what is in it is checked before it is used.

import { createHash } from "node:crypto";
import { createReadStream, rmSync } from "node:fs";
import { mkdtemp, open, readdir, readFile, realpath, rename, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { pipeline } from "node:stream/promises";
import { GpuError, isObject } from "../../errors.ts";
import { isLeftBehind, ownMark } from "./process-mark.node.ts";
import { cachesFolder, isSystemError, makeFolder } from "./user-folders.node.ts";

/** Written into an unpacked folder when all else is: the size of every file, and the hash of those that are not very large. */
const CONTENTS_FILE = ".contents.json";
const MAX_HASHED_BYTES = 64 * 2 ** 20;
const STALE_AFTER_MS = 3_600_000;
/** Bits of a file's mode. */
const [GROUP_OR_OTHERS_WRITE, OTHERS_WRITE, STICKY] = [0o022, 0o002, 0o1000];

/**
 * Fills a folder of the user's cache once: under a temporary name, renamed when whole and on the disk, so that a killed process leaves
 * nothing half-filled under `name` and two processes at once do no harm. A folder whose files are not what they were is filled again.
 * @returns the folder
 * @throws GpuError `no-adapter` when no folder can be written, naming those that were tried.
 */
export async function unpackOnce(name: string, fill: (folder: string) => Promise<void>): Promise<string> {
  const cache = await privateFolder();
  const folder = join(cache, name);
  await removeStale(cache).catch(() => undefined); // it only takes room
  if (await isWhole(folder)) return folder;
  let temporary: string | undefined;
  try {
    temporary = await mkdtemp(join(cache, `.unpacking-${ownMark()}.`));
    await fill(temporary);
    await writeContents(temporary);
    // A folder cannot be renamed onto one that has files.
    if (!(await isWhole(folder))) await rm(folder, { recursive: true, force: true });
    await rename(temporary, folder);
  } catch (error) {
    if (temporary !== undefined) await rm(temporary, { recursive: true, force: true }).catch(() => undefined);
    if (await isWhole(folder)) return folder; // another process was first
    if (!isSystemError(error)) throw error;
    throw cannotUse([`${folder} (${error.code})`], error);
  }
  return folder;
}

/** A folder of this user's that nobody else can write to: in the cache, else in the temporary folder, there for this process alone if need be. */
async function privateFolder(): Promise<string> {
  const caches = cachesFolder();
  const uid = process.getuid?.() ?? 0;
  const candidates = [...(caches === undefined ? [] : [join(caches, "adaptvis")]), join(tmpdir(), `adaptvis-${uid}`)];
  const tried: string[] = [];
  for (const folder of candidates) {
    try {
      await makeFolder(folder, 0o700);
      const real = await realpath(folder);
      const problem = await othersCanWrite(real, uid);
      if (problem === undefined) {
        await rm(await mkdtemp(join(real, `.writable-${ownMark()}.`)), { recursive: true });
        return real;
      }
      tried.push(`${folder} (${problem})`);
    } catch (error) {
      if (!isSystemError(error)) throw error;
      tried.push(`${folder} (${error.code})`);
    }
  }
  return temporaryFolder(tried);
}

/** One for this process, removed at its end. */
async function temporaryFolder(tried: readonly string[]): Promise<string> {
  let folder: string;
  try {
    folder = await mkdtemp(join(tmpdir(), "adaptvis-"));
  } catch (error) {
    if (!isSystemError(error)) throw error;
    throw cannotUse([...tried, `${tmpdir()} (${error.code})`], error);
  }
  process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

function cannotUse(tried: readonly string[], cause: unknown): GpuError {
  return new GpuError(
    "no-adapter",
    `SwiftShader cannot be unpacked: no folder can be written among ${tried.join(", ")}; set XDG_CACHE_HOME to a folder of yours with room for 10 MB.`,
    { cause },
  );
}

/**
 * Whether somebody else than this user and root could put files into a folder, or put another folder in its place.
 * @param folder without links
 * @returns what is wrong with it, undefined for a private one
 */
async function othersCanWrite(folder: string, uid: number): Promise<string | undefined> {
  if (process.getuid === undefined) return undefined; // Windows keeps users' folders apart
  const own = await stat(folder);
  if (own.uid !== uid) return "it belongs to another user";
  if ((own.mode & GROUP_OR_OTHERS_WRITE) !== 0) return "others can write to it";
  for (let path = dirname(folder); ; path = dirname(path)) {
    const { uid: owner, mode } = await stat(path);
    if (owner !== uid && owner !== 0) return `${path} belongs to another user`;
    // In a folder with the sticky bit, such as /tmp, only a file's owner renames it.
    if ((mode & OTHERS_WRITE) !== 0 && (mode & STICKY) === 0) return `others can write to ${path}`;
    if (path === dirname(path)) return undefined;
  }
}

/** Of a file in an unpacked folder. */
interface FileFacts {
  readonly size: number;
  /** In hexadecimal digits; absent for a very large file. */
  readonly sha256?: string;
}

async function writeContents(folder: string): Promise<void> {
  const files: Record<string, FileFacts> = {};
  for (const path of await filesOf(folder)) {
    const file = join(folder, path);
    await sync(file);
    files[path] = await factsOf(file);
  }
  const contents = join(folder, CONTENTS_FILE);
  await writeFile(contents, JSON.stringify(files));
  await sync(contents);
}

/** Whether a folder's files are those that were unpacked. */
async function isWhole(folder: string): Promise<boolean> {
  try {
    const contents: unknown = JSON.parse(await readFile(join(folder, CONTENTS_FILE), "utf8"));
    if (!isObject(contents)) return false;
    for (const [path, facts] of Object.entries(contents)) {
      if (JSON.stringify(await factsOf(join(folder, path))) !== JSON.stringify(facts)) return false;
    }
    return true;
  } catch {
    return false; // absent or damaged: it is unpacked again
  }
}

async function factsOf(file: string): Promise<FileFacts> {
  const { size } = await stat(file);
  if (size > MAX_HASHED_BYTES) return { size };
  const hash = createHash("sha256");
  await pipeline(createReadStream(file), hash);
  return { size, sha256: hash.digest("hex") };
}

async function filesOf(folder: string): Promise<readonly string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile());
  return files.map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1)).sort();
}

/** Waits until a file is on the disk. */
async function sync(file: string): Promise<void> {
  const handle = await open(file, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Removes what killed processes left. */
async function removeStale(cache: string): Promise<void> {
  for (const name of await readdir(cache)) {
    const path = join(cache, name);
    if (!name.startsWith(".unpacking-") && !name.startsWith(".writable-")) continue;
    const stats = await stat(path).catch(() => undefined);
    if (isLeftBehind(name) || (stats !== undefined && Date.now() - stats.mtimeMs > STALE_AFTER_MS))
      await rm(path, { recursive: true, force: true });
  }
}
