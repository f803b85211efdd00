// Which of a chosen folder's files are the checkpoint; nothing of them is read.
import { expect, test } from "vitest";
import { checkpointOf, chooseRoot, type Folder, type FolderFile } from "../../src/app/checkpoint-files.ts";
import { failureOf } from "../../src/app/engine/failure.ts";

class UnreadableBlob extends Blob {
  override slice(): Blob {
    throw new Error("the file was read");
  }
  override async arrayBuffer(): Promise<ArrayBuffer> {
    throw new Error("the file was read");
  }
}

function file(path: string): FolderFile {
  return { path, file: new UnreadableBlob(["{}"]) };
}

/** A folder whose parts are files by name, or folders. */
function folder(name: string, ...entries: (string | Folder)[]): Folder & { numListed: number } {
  return {
    name,
    numListed: 0,
    async list() {
      this.numListed++;
      return entries.map((entry) => (typeof entry === "string" ? file(entry) : entry));
    },
  };
}

const paths = ({ files }: { readonly files: readonly FolderFile[] }) => files.map(({ path }) => path).sort();

function refusal(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    const { kind, message } = failureOf(error);
    expect(kind).toBe("checkpoint");
    return message;
  }
  return expect.fail("expected a failure");
}

test("the chosen folder is the checkpoint when it has a config.json; folders in it are not listed", async () => {
  const inner = folder("benchmark", "config.json");
  const found = await checkpointOf(folder("tiny", "config.json", "model.safetensors", inner));
  expect([found.name, paths(found)]).toEqual(["tiny", ["config.json", "model.safetensors"]]);
  expect(inner.numListed).toBe(0);
});

test("the only folder with a config.json in it is the checkpoint; deeper ones are not looked at", async () => {
  const deep = folder("deep", "config.json");
  const hidden = folder(".git", "config.json");
  const found = await checkpointOf(
    folder("models", "notes.txt", folder("llava", "config.json", deep), folder("x"), hidden),
  );
  expect([found.name, paths(found)]).toEqual(["llava", ["config.json"]]);
  expect([deep.numListed, hidden.numListed]).toEqual([0, 0]);
});

test("a file input's paths are those below the folder, and folders below a checkpoint stay", () => {
  const found = chooseRoot("tiny", [file("config.json"), file("shards/a.safetensors"), file("demo/config.json")]);
  expect(paths(found)).toEqual(["config.json", "demo/config.json", "shards/a.safetensors"]);
  expect(paths(chooseRoot("models", [file("a/config.json"), file("a/b.json"), file("c.json")]))).toEqual([
    "b.json",
    "config.json",
  ]);
});

test("no checkpoint, or several, is one sentence that says what to choose", () => {
  expect(refusal(() => chooseRoot("photos", []))).toBe(
    "photos holds no files: choose a folder with config.json and model.safetensors.",
  );
  expect(refusal(() => chooseRoot("photos", [file("a.jpg"), file("a/b/config.json")]))).toBe(
    "photos holds no config.json: choose the folder of a checkpoint in Hugging Face's layout, with config.json and model.safetensors.",
  );
  expect(refusal(() => chooseRoot("models", [file("b/config.json"), file("a/config.json")]))).toBe(
    "models holds several checkpoints (a, b): choose the folder of one.",
  );
});
