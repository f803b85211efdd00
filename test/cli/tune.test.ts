// ask --tune: measures once, keeps the table, uses it again, and measures again where the file is damaged.
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { adaptvis, knownPictures } from "./command.ts";

let cache: string;
let before: string | undefined;

beforeAll(async () => {
  cache = await mkdtemp(join(tmpdir(), "adaptvis-tune-"));
  before = process.env.XDG_CACHE_HOME;
});
afterAll(async () => {
  if (before === undefined) delete process.env.XDG_CACHE_HOME;
  else process.env.XDG_CACHE_HOME = before;
  await rm(cache, { recursive: true, force: true });
});

test("--tune keeps what it measured, uses it again, and mends a damaged file", async () => {
  const [picture] = await knownPictures();
  if (picture === undefined) throw new Error("no known picture");
  process.env.XDG_CACHE_HOME = cache;
  const ask = () => adaptvis("ask", "--tune", "--image", picture.path, picture.question);
  const first = await ask();
  expect(first).toMatchObject({ stdout: `${picture.answer}\n`, ending: 0 });
  expect(first.stderr).toContain("adaptvis: tuned:");
  const folder = join(cache, "adaptvis", "tuning");
  const [file = ""] = await readdir(folder);
  const second = await ask();
  expect(second).toMatchObject({ stdout: first.stdout, ending: 0 });
  expect(second.stderr).not.toContain("tuned:");
  await writeFile(join(folder, file), "{");
  const third = await ask();
  expect(third).toMatchObject({ stdout: first.stdout, ending: 0 });
  expect(third.stderr).toContain("measuring again");
});
