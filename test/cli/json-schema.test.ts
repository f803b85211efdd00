// `ask --json-schema`: an answer that is JSON.
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { adaptvis, jsonOf, newFolder, ownLines, removeFolders } from "./command.ts";

afterAll(removeFolders);

async function schemaFile(text: string): Promise<string> {
  const path = join(await newFolder(), "schema.json");
  await writeFile(path, text);
  return path;
}

test("the answer follows the file's schema", async () => {
  const schema = { type: "object", properties: { at: { enum: ["left", "right"] } }, required: ["at"] };
  const path = await schemaFile(JSON.stringify(schema));
  const result = await adaptvis("ask", "--text-only", "--json", "--json-schema", path, "Where is the mug?");
  expect(result.ending).toBe(0);
  const { answer, finishReason } = jsonOf(result);
  expect(JSON.parse(String(answer)).at).toMatch(/^(left|right)$/);
  expect(finishReason).toBe("eos");
});

test.each([
  ["{", /schema\.json must be a JSON file with a JSON schema/],
  ['{"not": {}}', /jsonSchema: the schema uses not, which is not supported/],
  ["3", /jsonSchema must be a JSON schema \(an object, or true\), got 3/],
])("%s in the file is wrong usage", async (text, message) => {
  const result = await adaptvis("ask", "--text-only", "--json-schema", await schemaFile(text), "Where is the mug?");
  expect(result.ending).toBe(2);
  expect(ownLines(result.stderr).join("\n") || result.stderr).toMatch(message);
});
