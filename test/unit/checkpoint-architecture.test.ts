// Embeddings that a config calls tied: one table where the files have one, two where they hold another lm_head.

import { expect, test } from "vitest";
import { openCheckpoint } from "../../src/checkpoint/checkpoint.ts";
import { encodeSafetensors } from "../../src/checkpoint/safetensors-writer.ts";
import { architectureOf } from "../../src/models/checkpoint-architecture.ts";
import { memorySource } from "../checkpoint/fixtures.ts";

const TABLE = Float32Array.from({ length: 12 }, (_, index) => index);
const OTHER = TABLE.map((value, index) => (index === 11 ? -1 : value));
const [EMBED, HEAD] = ["model.embed_tokens.weight", "lm_head.weight"];

async function isTied(
  tensors: Readonly<Record<string, Float32Array<ArrayBuffer>>>,
  config: object = { tie_word_embeddings: true },
  metadata: Readonly<Record<string, string>> = {},
): Promise<boolean> {
  const list = Object.entries(tensors).map(([name, data]) => ({ name, dtype: "F32", shape: [4, 3], data }) as const);
  const files = {
    "config.json": JSON.stringify({
      model_type: "llama",
      vocab_size: 4,
      hidden_size: 4,
      num_attention_heads: 2,
      ...config,
    }),
    "model.safetensors": encodeSafetensors(list, metadata),
  };
  const { config: read } = await architectureOf(await openCheckpoint(memorySource(files)));
  return read.text.tieWordEmbeddings;
}

test.each([
  ["one table", { [EMBED]: TABLE }, true],
  ["the head alone", { [HEAD]: TABLE }, true],
  ["the same table twice", { [EMBED]: TABLE, [HEAD]: TABLE.slice() }, true],
  ["a head with another last value", { [EMBED]: TABLE, [HEAD]: OTHER }, false],
])("%s", async (_, tensors, tied) => {
  expect(await isTied(tensors)).toBe(tied);
});

test("a head that is the embedding's alias is tied, whatever its name is under", async () => {
  expect(await isTied({ [EMBED]: TABLE }, { tie_word_embeddings: true }, { [HEAD]: EMBED })).toBe(true);
});

test("either flag of a config with a part for the text ties them, and another head unties them", async () => {
  const llava = (outer: boolean, text_config: object) => ({
    model_type: "llava",
    tie_word_embeddings: outer,
    text_config,
  });
  expect(await isTied({ [EMBED]: TABLE }, llava(false, { tie_word_embeddings: true }))).toBe(true);
  expect(await isTied({ [EMBED]: TABLE }, llava(true, { tie_word_embeddings: false }))).toBe(true);
  expect(await isTied({ [EMBED]: TABLE }, llava(false, {}))).toBe(false);
  expect(await isTied({ [EMBED]: TABLE, [HEAD]: OTHER }, llava(true, { tie_word_embeddings: true }))).toBe(false);
});
