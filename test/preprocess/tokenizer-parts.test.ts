// Every part that a tokenizer.json may have, against the tokenizers library (tools/goldens/tokenizer_parts.py).

import { describe, expect, test } from "vitest";
import { loadTokenizer } from "../../src/preprocess/tokenizer/tokenizer.ts";
import { readGolden, type Versioned, versionsOf } from "./golden.ts";

type Parts = Readonly<Record<string, unknown>>;

interface Golden extends Versioned {
  readonly texts: readonly string[];
  /** Per text, what it is split into. */
  readonly pieces: readonly { readonly parts: Parts; readonly pieces: readonly (readonly string[])[] }[];
  readonly lists: readonly (readonly string[])[];
  readonly decoders: readonly { readonly decoder: unknown; readonly texts: readonly string[] }[];
  readonly modelTexts: readonly string[];
  readonly models: readonly {
    readonly model: { readonly type: string };
    readonly ids: readonly (readonly number[])[];
  }[];
  readonly addedTexts: readonly string[];
  readonly added: readonly [{ readonly vocab: readonly string[] }, ...AddedCase[]];
}

interface AddedCase {
  readonly parts: Parts;
  readonly ids: readonly (readonly number[])[];
  /** Without special tokens. */
  readonly plain: readonly (readonly number[])[];
  readonly decoded: readonly string[];
  readonly withSpecial: readonly string[];
}

const golden = readGolden<Golden>("tokenizer-parts.json");
const library = versionsOf(golden, "tokenizers");

/** A model whose ids show the pieces. */
function wordLevel(tokens: Iterable<string>) {
  const vocab = Object.fromEntries([...new Set(tokens)].map((token, id) => [token, id]));
  return { type: "WordLevel", vocab, unk_token: "\0" };
}

function titleOf(parts: Parts): string {
  return JSON.stringify(Object.values(parts)).slice(1, -1);
}

test.each(golden.pieces.map((item) => ({ ...item, title: titleOf(item.parts) })))(
  `$title splits as ${library}`,
  ({ parts, pieces }) => {
    const { vocab, ...model } = wordLevel(["\0", ...pieces.flat()]);
    const tokenizer = loadTokenizer({ ...parts, model: { ...model, vocab } });
    const tokens = Object.keys(vocab);
    for (const [token, id] of Object.entries(vocab)) tokens[id] = token;
    expect(golden.texts.map((text) => tokenizer.encode(text).map((id) => tokens[id]))).toEqual(pieces);
  },
);

test.each(golden.decoders.map((item) => ({ ...item, title: JSON.stringify(item.decoder) })))(
  `the decoder $title decodes as ${library}`,
  ({ decoder, texts }) => {
    const model = wordLevel(golden.lists.flat());
    const tokenizer = loadTokenizer({ decoder, model });
    const decode = (tokens: readonly string[]) => tokenizer.decode(tokens.map((token) => model.vocab[token] ?? -1));
    expect(golden.lists.map(decode)).toEqual(texts);
  },
);

test.each(golden.models.map((item, index) => ({ ...item, title: `${item.model.type} (${index})` })))(
  `the model $title encodes as ${library}`,
  ({ model, ids }) => {
    if ("continuing_subword_prefix" in model && model.type === "BPE") {
      expect(() => loadTokenizer({ model })).toThrow(/model\.continuing_subword_prefix is not supported/);
      return;
    }
    const tokenizer = loadTokenizer({ model });
    expect(golden.modelTexts.map((text) => tokenizer.encode(text))).toEqual(ids);
  },
);

describe(`added tokens and post-processors as ${library}`, () => {
  const [{ vocab }, ...cases] = golden.added;
  const model = { ...wordLevel(vocab), type: "BPE", merges: [], unk_token: null };

  test.each(cases.map((item) => ({ ...item, title: titleOf(item.parts) })))("$title", (expected) => {
    const tokenizer = loadTokenizer({ ...expected.parts, model });
    const { addedTexts } = golden;
    expect(addedTexts.map((text) => tokenizer.encode(text))).toEqual(expected.ids);
    expect(addedTexts.map((text) => tokenizer.encode(text, { addSpecialTokens: false }))).toEqual(expected.plain);
    expect(expected.ids.map((ids) => tokenizer.decode(ids))).toEqual(expected.decoded);
    expect(expected.ids.map((ids) => tokenizer.decode(ids, { skipSpecialTokens: false }))).toEqual(
      expected.withSpecial,
    );
  });
});
