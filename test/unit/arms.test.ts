// Methods on the command line of an evaluation: registered ones and modules, with their settings.
import { createHash } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { armsOf, parseArms } from "../../src/cli/arms.ts";
import { settingsOfArm } from "../../src/evaluate/run/samples.ts";

const MODULE = `export const own = {
  name: "own",
  parameters: { power: { type: { kind: "number", minimum: 0, maximum: 3 }, default: 1, meaning: "exponent" } },
  edits: () => ({ scores: [], factor: 1 }),
};`;

let folder: string;
let path: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "arms-"));
  path = join(folder, "own:1.mjs");
  await writeFile(path, MODULE);
});

afterAll(() => rm(folder, { recursive: true }));

test("a module's path with settings is an arm whose record has the module's hash", async () => {
  const written = await parseArms([`${path}:power=2:rmsNormEps=1e-6`, path, "m3id:forgetting=0.1"]);
  const [first, second, third] = armsOf(written, { defaults: {}, published: null });
  const module = createHash("sha256").update(MODULE).digest("hex");
  expect(first).toMatchObject({ name: `${path}:power=2:rmsNormEps=1e-6`, options: { settings: { power: 2 } }, module });
  expect(second).toMatchObject({ name: path, options: { method: { name: "own" }, settings: {} }, module });
  expect(third).toEqual({ name: "m3id:forgetting=0.1", options: { method: "m3id", forgetting: 0.1 } });
  expect(settingsOfArm(first ?? {}, { power: 2 })).toEqual({ power: 2, rmsNormEps: 1e-6, module });
  expect(settingsOfArm(third ?? {}, { forgetting: 0.1 })).toEqual({ forgetting: 0.1 });
});

test.each([
  [":power=4", /:power=4: power: expected a number that is at least 0 and at most 3\.$/],
  [":exponent=2", /expected SETTING=VALUE with a setting of own \(power, rmsNormEps\), got "exponent=2"\.$/],
  [".missing.mjs", /missing\.mjs cannot be read \(ENOENT/],
])("%s is refused", async (rest, message) => {
  await expect(parseArms([`${path}${rest}`])).rejects.toThrow(message);
});

test("a module has to export one intervention", async () => {
  const odd = join(folder, "odd.mjs");
  await writeFile(odd, `${MODULE} export const other = { ...own, name: "other" };`);
  await expect(parseArms([odd])).rejects.toThrow(/odd\.mjs exports 2 interventions \(other, own\): export one\.$/);
});
