// The local sources: what every source must do, on a folder and on Blobs.
import { mkdir, mkdtemp, open, rm, symlink, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { blobSource } from "../../src/checkpoint/blob-source.ts";
import { fileSource } from "../../src/checkpoint/file-source.node.ts";
import type { Source } from "../../src/checkpoint/source.ts";
import { AbortError, CheckpointError, InputError } from "../../src/errors.ts";
import { memorySource, rejection } from "./fixtures.ts";

const CONTENT = Uint8Array.from({ length: 1000 }, (_, i) => i % 251);
let folder = "";

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "adaptvis-sources-"));
  await mkdir(join(folder, "sub"));
  await writeFile(join(folder, "data.bin"), CONTENT);
  await writeFile(join(folder, "sub", "data.bin"), CONTENT.subarray(500));
  await writeFile(join(folder, "empty"), "");
});
afterAll(() => rm(folder, { recursive: true }));

const makers: readonly { kind: string; make: () => Source }[] = [
  { kind: "fileSource", make: () => fileSource(folder) },
  {
    kind: "blobSource",
    make: () => memorySource({ "data.bin": CONTENT, "sub/data.bin": CONTENT.slice(500), empty: "" }),
  },
];

describe.each(makers)("$kind", ({ make }) => {
  it("tells sizes, and undefined for what is not a file", async () => {
    const source = make();
    expect(await source.size("data.bin")).toBe(1000);
    expect(await source.size("sub/data.bin")).toBe(500);
    expect(await source.size("empty")).toBe(0);
    for (const path of ["none", "sub", "sub/none", "data.bin/none"]) expect(await source.size(path)).toBeUndefined();
    await source.close?.();
  });

  it("reads ranges, also many at once and after close()", async () => {
    const source = make();
    expect(await source.read("data.bin", 10, 13)).toEqual(CONTENT.slice(10, 13));
    expect(await source.read("sub/data.bin", 0, 500)).toEqual(CONTENT.slice(500));
    await source.close?.();
    const starts = [0, 1, 500, 999];
    const parts = await Promise.all(starts.map((start) => source.read("data.bin", start, 1000)));
    expect(parts).toEqual(starts.map((start) => CONTENT.slice(start)));
    expect((await source.read("data.bin", 1000, 1000)).length).toBe(0);
    expect((await source.read("empty", 0, 0)).length).toBe(0);
    await source.close?.();
  });

  it("refuses to read past the end", async () => {
    const source = make();
    const error = await rejection(source.read("data.bin", 999, 1001));
    expect(error).toBeInstanceOf(CheckpointError);
    expect(String(error)).toContain("data.bin has 1000 bytes, but bytes up to 1001 are needed");
    expect(await rejection(source.read("empty", 1, 1))).toBeInstanceOf(CheckpointError);
    expect(await rejection(source.read("data.bin", 0, Number.MAX_SAFE_INTEGER))).toBeInstanceOf(CheckpointError);
    await source.close?.();
  });

  it("refuses to read what is not there", async () => {
    const error = await rejection(make().read("none", 0, 1));
    expect(error).toBeInstanceOf(CheckpointError);
    expect(String(error)).toContain("none is not in ");
  });

  it.each([
    ["", "../data.bin", "sub/../data.bin", "/etc/passwd", "./data.bin", "sub//data.bin", "sub/", "..", "."],
    ["C:\\data.bin", "sub\\data.bin", "..\\x", "c:x", "data.bin\0", "a\nb"],
  ])("refuses names that are not plain paths inside the folder", async (...paths) => {
    const source = make();
    for (const path of paths) {
      for (const work of [source.size(path), source.read(path, 0, 1)]) {
        const error = await rejection(work);
        expect(error, path).toBeInstanceOf(CheckpointError);
        expect(String(error)).toContain("is not a plain path inside the checkpoint's folder");
      }
    }
  });

  it.each([
    [-1, 1],
    [2, 1],
    [0.5, 1],
    [0, Number.NaN],
    [0, 2 ** 53],
  ])("refuses the range [%d, %d)", async (start, end) => {
    const source = make();
    expect(await rejection(source.read("data.bin", start, end))).toBeInstanceOf(RangeError);
    await source.close?.();
  });

  it("stops when its signal has fired, and goes on without it", async () => {
    const source = make();
    const { signal } = new AbortController();
    const fired = AbortSignal.abort();
    expect(await rejection(source.size("data.bin", fired))).toBeInstanceOf(AbortError);
    expect(await rejection(source.read("data.bin", 0, 4, fired))).toBeInstanceOf(AbortError);
    expect((await source.read("data.bin", 0, 4, signal)).length).toBe(4);
    await source.close?.();
  });
});

describe("fileSource", () => {
  it("follows links, as hub caches need", async () => {
    await symlink(join(folder, "data.bin"), join(folder, "link.bin"));
    const source = fileSource(folder);
    expect(await source.size("link.bin")).toBe(1000);
    await source.close?.();
  });

  it("sees a file that comes later", async () => {
    const source = fileSource(folder);
    expect(await source.size("later")).toBeUndefined();
    await writeFile(join(folder, "later"), "now");
    expect(await source.size("later")).toBe(3);
    await source.close?.();
  });

  it("notices a file that shrinks while it is open", async () => {
    const path = join(folder, "shrinking");
    await writeFile(path, CONTENT);
    const source = fileSource(folder);
    expect(await source.size("shrinking")).toBe(1000);
    await truncate(path, 600);
    const error = await rejection(source.read("shrinking", 500, 700));
    expect(error).toBeInstanceOf(CheckpointError);
    expect(String(error)).toContain("shrinking has 600 bytes, but bytes up to 700 are needed");
    await source.close?.();
  });

  it("stops between chunks of a long read", async () => {
    // 64 MiB of nothing: a sparse file.
    const handle = await open(join(folder, "long"), "w");
    await handle.truncate(64 * 1024 * 1024);
    await handle.close();
    const source = fileSource(folder);
    const controller = new AbortController();
    const reading = rejection(source.read("long", 0, 64 * 1024 * 1024, controller.signal));
    controller.abort();
    expect(await reading).toBeInstanceOf(AbortError);
    await source.close?.();
  });

  it("names a folder that is not there as missing files", async () => {
    expect(await fileSource(join(folder, "no such folder")).size("config.json")).toBeUndefined();
  });
});

describe("blobSource", () => {
  it("refuses a file given twice", () => {
    const blob = new Blob(["x"]);
    const make = () =>
      blobSource(
        [
          ["a", blob],
          ["a", blob],
        ],
        "the drop",
      );
    expect(make).toThrow(InputError);
    expect(make).toThrow(new InputError('the drop holds the file "a" twice; give each file once.'));
  });

  it("tells of a Blob that cannot be read", async () => {
    class GoneBlob extends Blob {
      override slice(): Blob {
        return this;
      }
      override arrayBuffer(): Promise<ArrayBuffer> {
        return Promise.reject(new Error("NotReadableError"));
      }
    }
    const error = await rejection(blobSource([["a", new GoneBlob(["abc"])]], "the drop").read("a", 0, 1));
    expect(error).toBeInstanceOf(CheckpointError);
    expect(error).toMatchObject({
      file: "a",
      message: "a of the drop could not be read at bytes [0, 1); pick the file again.",
      cause: expect.objectContaining({ message: "NotReadableError" }),
    });
  });

  const stopped = "Reading a was stopped by its AbortSignal.";

  it("says in its errors which file of which source it is about", async () => {
    const source = blobSource([["a", new Blob(["abc"])]]);
    expect(source.name).toBe("the given files");
    expect(await rejection(source.read("b", 0, 1))).toMatchObject({
      file: "b",
      message: "b is not in the given files; check the folder or download the file.",
    });
    const fired = AbortSignal.abort();
    for (const work of [source.size("a", fired), source.read("a", 0, 1, fired)]) {
      const error = await rejection(work);
      expect(error).toBeInstanceOf(AbortError);
      expect(error).toMatchObject({ message: stopped });
    }
  });

  it("stops when its signal fires during the read", async () => {
    const controller = new AbortController();
    const source = blobSource([["a", new Blob(["abc"])]]);
    const reading = rejection(source.read("a", 0, 3, controller.signal));
    controller.abort();
    const error = await reading;
    expect(error).toBeInstanceOf(AbortError);
    expect(error).toMatchObject({ message: stopped });
  });

  it("notices a Blob that gives fewer bytes than it has", async () => {
    class ShrunkBlob extends Blob {
      override slice(start?: number): Blob {
        return super.slice(start, 2);
      }
    }
    const error = await rejection(blobSource([["a", new ShrunkBlob(["abc"])]]).read("a", 1, 3));
    expect(error).toBeInstanceOf(CheckpointError);
    expect(error).toMatchObject({
      file: "a",
      message: "a has 2 bytes, but bytes up to 3 are needed; the file is cut short, so download it again.",
    });
  });
});
