// Writes a model's folder either completely or not at all. Every file is written as NAME.part and renamed when all are whole, and
// config.json last. A marker file says that a folder is being written, so that a later run may use one that was left half done.
import { copyFile, open, readdir, rename, rm, rmdir, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { cannotWrite } from "../checkpoint/write-file.node.ts";
import { InputError } from "../errors.ts";
import { makeFolder } from "../gpu/hosts/user-folders.node.ts";

const MARKER = ".adaptvis-unfinished";
const PART = ".part";
const WEIGHT_FILE = /\.safetensors(\.index\.json)?$/;

/** A model's folder that is being written. */
export class ModelFolder {
  private readonly folder: string;
  private readonly isNew: boolean;
  private readonly names: string[] = [];

  private constructor(folder: string, isNew: boolean) {
    this.folder = folder;
    this.isNew = isNew;
  }

  /**
   * Begins to write `folder`, which is made unless it exists.
   * @param options.overwrite whether the folder may hold files; those that are written and all other weight files are replaced
   * @throws InputError when the folder holds files that no interrupted run left, or cannot be written.
   */
  static async open(folder: string, options: { readonly overwrite: boolean }): Promise<ModelFolder> {
    const before = await readdir(folder).catch((error: unknown) => {
      if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
      throw cannotWrite(folder, error);
    });
    if (before !== undefined && before.length > 0 && !before.includes(MARKER) && !options.overwrite) {
      throw new InputError(`${folder} exists and is not empty; choose another folder, or add --overwrite.`);
    }
    try {
      await makeFolder(folder);
      await writeFile(join(folder, MARKER), "adaptvis is writing this folder, or was interrupted.\n");
    } catch (error) {
      throw cannotWrite(folder, error);
    }
    return new ModelFolder(folder, before === undefined);
  }

  /** Writes a file from pieces of it in any order. @throws InputError when it cannot be written; what `pieces` throws. */
  async write(
    name: string,
    pieces: AsyncIterable<{ readonly position: number; readonly bytes: Uint8Array<ArrayBuffer> }>,
  ): Promise<void> {
    const part = this.part(name);
    const io = <T>(work: Promise<T>) =>
      work.catch((error: unknown) => {
        throw cannotWrite(join(this.folder, name), error);
      });
    const handle = await io(open(part, "w"));
    try {
      for await (const { position, bytes } of pieces) {
        for (let done = 0; done < bytes.length; ) {
          done += (await io(handle.write(bytes, done, bytes.length - done, position + done))).bytesWritten;
        }
      }
      await io(handle.sync());
    } finally {
      await handle.close();
    }
  }

  /** Writes a text file. @throws InputError when it cannot be written. */
  async writeText(name: string, text: string): Promise<void> {
    await writeFile(this.part(name), text).catch((error: unknown) => {
      throw cannotWrite(join(this.folder, name), error);
    });
  }

  /** Copies a file. @throws InputError when it cannot be written. */
  async copy(name: string, from: string): Promise<void> {
    await copyFile(from, this.part(name)).catch((error: unknown) => {
      throw cannotWrite(join(this.folder, name), error);
    });
  }

  /** Gives all files their names, and removes other weight files. @throws InputError when that fails. */
  async finish(): Promise<void> {
    try {
      const written = new Set(this.names);
      for (const name of await readdir(this.folder)) {
        const isStale = WEIGHT_FILE.test(name) && !written.has(name);
        if (isStale || (name.endsWith(PART) && !written.has(name.slice(0, -PART.length)))) {
          await rm(join(this.folder, name), { force: true });
        }
      }
      const last = (name: string) => (name === "config.json" ? 1 : 0);
      for (const name of [...this.names].sort((a, b) => last(a) - last(b))) {
        await rename(join(this.folder, `${name}${PART}`), join(this.folder, name));
      }
      await rm(join(this.folder, MARKER));
    } catch (error) {
      throw cannotWrite(this.folder, error);
    }
  }

  /** Removes what was written so far. */
  async discard(): Promise<void> {
    for (const name of this.names)
      await rm(join(this.folder, `${name}${PART}`), { force: true }).catch(() => undefined);
    await rm(join(this.folder, MARKER), { force: true }).catch(() => undefined);
    if (this.isNew) await rmdir(this.folder).catch(() => undefined);
  }

  private part(name: string): string {
    this.names.push(name);
    return join(this.folder, `${name}${PART}`);
  }
}

/** Files beside the weights that a model's folder consists of: configuration, tokenizer, processor, licence. */
export async function companionFiles(folder: string): Promise<readonly string[]> {
  const names: string[] = [];
  for (const name of (await readdir(folder)).sort()) {
    const isMeant = /\.(json|jinja|txt|model|md)$|^(LICENSE|NOTICE)/i.test(name) && !name.startsWith(".");
    if (!isMeant || name.endsWith(".index.json") || name === "config.json") continue;
    if ((await stat(join(folder, name))).isFile()) names.push(name); // follows links: hub caches consist of them
  }
  return names;
}
