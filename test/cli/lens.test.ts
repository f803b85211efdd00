// `adaptvis lens` and `adaptvis attribute`: the lens of the last layer is the answer's own distribution, and parts add up.
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { readTensorFile } from "../setup/golden.ts";
import { adaptvis, jsonOf, knownPictures, newFolder, ownLines, removeFolders } from "./command.ts";

afterAll(removeFolders);

const QUESTION = "What is in the picture?";

test("lens: a table of positions and a grid of patches; the last layer gives the answer", async () => {
  const [picture] = await knownPictures();
  const folder = await newFolder();
  const out = join(folder, "lens.safetensors");
  const args = [
    "lens",
    "--image",
    picture?.path ?? "",
    QUESTION,
    "--at",
    "last,image",
    "--after",
    "input,3",
    "--out",
    out,
  ];
  const result = jsonOf(await adaptvis(...args, "--json"));
  const rows = result.rows as { layer: number; position: number; tokens: { tokenId: number; text: string }[] }[];
  expect(result).toMatchObject({ layers: [-1, 3], isNormalized: true, grids: [{ picture: 0, tile: 0 }] });
  const last = rows.at(-1);
  expect(last).toMatchObject({ layer: 3, tokens: [{}, {}, {}, {}, {}] });
  expect(last?.tokens[0]?.text.trim()).toBe(result.answer);
  const file = await readTensorFile("lens.safetensors", folder);
  expect(file.get("lens.token_ids").shape).toEqual([2, 65, 5]);
  const ids = rows.flatMap(({ tokens }) => tokens.map(({ tokenId }) => tokenId));
  expect(file.ids("lens.token_ids")).toEqual(ids);

  const { stdout } = await adaptvis(...args);
  const [title, ...lines] = stdout.split("\n");
  expect(title).toBe("input: most probable token of each patch");
  expect(lines.slice(0, 8).every((line) => line.trim() !== "")).toBe(true); // the picture's 8 rows of patches
  expect(stdout).toMatch(/\nafter {4}position {2}most probable tokens\ninput {4}\d+ ":" {2,}" \w+" [\d.]+ %/);
});

test("attribute: the parts of a difference add up to it", async () => {
  const [picture] = await knownPictures();
  const out = join(await newFolder(), "parts.safetensors");
  const args = [
    "attribute",
    "--image",
    picture?.path ?? "",
    QUESTION,
    "--token",
    "a",
    "--against",
    "Left",
    "--out",
    out,
  ];
  const result = await adaptvis(...args, "--json");
  const { logit, sum, parts } = jsonOf(result) as { logit: number; sum: number; parts: { value: number }[] };
  expect(parts).toHaveLength(1 + 4 * (4 + 1));
  expect(Math.abs(parts.reduce((total, { value }) => total + value, 0) - logit)).toBeLessThan(1e-4);
  expect(sum).toBeCloseTo(logit, 4);
});

test.each([
  [
    "a token of several",
    ["attribute", "--token", "Behindistan"],
    /token must be a text of one token, .*"Behindistan" of \d tokens\.$/,
  ],
])("refuses %s with exit code 2", async (_, args, message) => {
  const { stderr, ending } = await adaptvis(...args, "Where is it?");
  expect(ending).toBe(2);
  expect(ownLines(stderr)).toEqual([expect.stringMatching(message)]);
});
