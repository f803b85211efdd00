import {
  chmod,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  readlink,
  rm,
  stat,
  symlink,
  utimes,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { writeFileWhole } from "../../src/checkpoint/write-file.node.ts";
import { InputError } from "../../src/errors.ts";
import { hostTag } from "../../src/gpu/hosts/process-mark.node.ts";
import { rejection } from "./fixtures.ts";

let folder = "";
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "adaptvis-write-"));
});
afterEach(() => rm(folder, { recursive: true }));

describe("writeFileWhole", () => {
  it("writes bytes and text, and replaces what was there", async () => {
    const path = join(folder, "out");
    await writeFileWhole(path, Uint8Array.of(1, 2, 3));
    expect([...(await readFile(path))]).toEqual([1, 2, 3]);
    await writeFileWhole(path, "ü");
    expect(await readFile(path, "utf8")).toBe("ü");
    expect(await readdir(folder)).toEqual(["out"]);
  });

  it("writes through a link", async () => {
    await writeFile(join(folder, "target"), "old");
    await symlink("target", join(folder, "link"));
    await writeFileWhole(join(folder, "link"), "new");
    expect(await readlink(join(folder, "link"))).toBe("target");
    expect(await readFile(join(folder, "target"), "utf8")).toBe("new");
  });

  // reason: Windows has no such permissions
  it.runIf(process.platform !== "win32")("keeps the permissions of what it replaces", async () => {
    const path = join(folder, "out");
    await writeFile(path, "old", { mode: 0o600 });
    await writeFileWhole(path, "new");
    expect((await stat(path)).mode & 0o777).toBe(0o600);
  });

  it("removes what a killed process left of the same file, and nothing else", async () => {
    const [left, fresh, other] = [".out.1.part", ".out.2.part", ".other.1.part"];
    for (const name of [left, fresh, other]) await writeFile(join(folder, name), "half");
    for (const name of [left, other]) await utimes(join(folder, name), new Date(0), new Date(0));
    await writeFileWhole(join(folder, "out"), "new");
    expect((await readdir(folder)).sort()).toEqual([other, fresh, "out"].sort());
  });

  it("removes what a process of this machine that is gone has left at once, and nothing of one that runs", async () => {
    const [gone, running, elsewhere] = [
      `.out.${hostTag()}.${2 ** 30}.0123abcd.part`,
      `.out.${hostTag()}.${process.pid}.0123abcd.part`,
      `.out.00000000.${2 ** 30}.0123abcd.part`,
    ];
    for (const name of [gone, running, elsewhere]) await writeFile(join(folder, name), "half");
    await writeFileWhole(join(folder, "out"), "new");
    expect((await readdir(folder)).sort()).toEqual([running, elsewhere, "out"].sort());
  });

  // reason: Windows has no /dev/null
  it.runIf(process.platform !== "win32")("writes into a device without removing it", async () => {
    await writeFileWhole("/dev/null", "x");
    expect((await readFile("/dev/null")).length).toBe(0);
  });

  it("says in one sentence why it cannot, and leaves nothing behind", async () => {
    await mkdir(join(folder, "taken"));
    await writeFile(join(folder, "file"), "kept");
    const cases = [
      [join(folder, "none", "out"), "its folder does not exist"],
      [join(folder, "taken"), "it is a folder"],
      [join(folder, "file", "out"), "its folder is a file"],
      [join(folder, "x".repeat(300)), "its name is too long"],
    ] as const;
    for (const [path, reason] of cases) {
      const error = await rejection(writeFileWhole(path, "new"));
      expect(error).toBeInstanceOf(InputError);
      expect(String(error)).toContain(`${path} cannot be written: ${reason}; choose another place.`);
    }
    expect((await readdir(folder)).sort()).toEqual(["file", "taken"]);
    expect(await readFile(join(folder, "file"), "utf8")).toBe("kept");
  });

  // reason: root may write everywhere
  it.skipIf(process.getuid?.() === 0)("keeps its hands off a read-only file", async () => {
    const path = join(folder, "read-only");
    await writeFile(path, "kept");
    await chmod(path, 0o400);
    expect(String(await rejection(writeFileWhole(path, "new")))).toContain("permission is denied");
    expect(await readFile(path, "utf8")).toBe("kept");
  });
});
