// Which of a folder's files are the checkpoint.
import { EngineError } from "./engine/failure.ts";
import type { CheckpointSource, LocalFile } from "./protocol.ts";

/** A file of a chosen folder; `path` begins below the folder, with `/` between its parts. */
export type FolderFile = LocalFile;

/** A folder whose content can be listed, whichever of the browser's interfaces gives it. */
export interface Folder {
  readonly name: string;
  list(): Promise<readonly (FolderFile | Folder)[]>;
}

const CONFIG = "config.json";

/**
 * The checkpoint in a folder, or in the only folder in it that holds one; nothing deeper is listed, so that a home folder
 * chosen by mistake is not walked to its end.
 * @throws EngineError `checkpoint` when there is none, or several.
 */
export async function checkpointOf(folder: Folder): Promise<ReturnType<typeof chooseRoot>> {
  const entries = await folder.list();
  const files = entries.filter((entry) => "file" in entry);
  if (files.some(({ path }) => path === CONFIG)) return chooseRoot(folder.name, files);
  for (const inner of entries.filter((entry) => "list" in entry && !entry.name.startsWith("."))) {
    if (!("list" in inner)) continue;
    const innerFiles = (await inner.list()).filter((entry) => "file" in entry);
    files.push(...innerFiles.map(({ path, file }) => ({ path: `${inner.name}/${path}`, file })));
  }
  return chooseRoot(folder.name, files);
}

/**
 * The files of the checkpoint, named from its folder: the chosen one, or the only folder in it that has a config.json.
 * @param name what the chosen folder is called
 * @throws EngineError `checkpoint` when there is no config.json, or more than one folder has one.
 */
export function chooseRoot(
  name: string,
  files: readonly FolderFile[],
): Extract<CheckpointSource, { readonly kind: "files" }> {
  const roots = files
    .filter(({ path }) => path === CONFIG || /^[^/]+\/config\.json$/.test(path))
    .map(({ path }) => path);
  const root = roots.includes(CONFIG) ? CONFIG : roots[0];
  if (root === undefined) {
    throw failure(
      files.length === 0
        ? `${name} holds no files: choose a folder with config.json and model.safetensors.`
        : `${name} holds no config.json: choose the folder of a checkpoint in Hugging Face's layout, with config.json and model.safetensors.`,
    );
  }
  if (root !== CONFIG && roots.length > 1) {
    const folders = roots.map((path) => path.split("/")[0]).sort();
    throw failure(`${name} holds several checkpoints (${folders.slice(0, 5).join(", ")}): choose the folder of one.`);
  }
  const prefix = root.slice(0, -CONFIG.length);
  const inside = files.filter(({ path }) => path.startsWith(prefix));
  return {
    kind: "files",
    name: prefix === "" ? name : prefix.slice(0, -1),
    files: inside.map(({ path, file }) => ({ path: path.slice(prefix.length), file })),
  };
}

function failure(message: string): EngineError {
  return new EngineError({ kind: "checkpoint", message });
}
