// Conversations of five turns with two pictures against transformers (tools/goldens/chat.py), and the map of an answer's word.
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, expect, test } from "vitest";
import type { Trace } from "../../src/answer.ts";
import { wordMap } from "../../src/cli/chat-heat-map.ts";
import { Conversation } from "../../src/cli/conversation.ts";
import { at, InputError } from "../../src/errors.ts";
import type { Llava } from "../../src/llava.ts";
import type { ModelInputs } from "../../src/models/inputs.ts";
import type { ConversationMessage } from "../../src/models/processor.ts";
import { readImageFile } from "../../src/preprocess/decode-image.node.ts";
import { GOLDEN, largestError, readTensorFile } from "../setup/golden.ts";
import { loadGoldenModel } from "../setup/golden-model.ts";
import { PARITY } from "../setup/parity-bounds.ts";

const NEW_TOKENS = 8;
const TINY_SPATIAL = "../../weights/tiny-spatial";
const folder = join(dirname(fileURLToPath(import.meta.url)), TINY_SPATIAL);

interface ChatGolden {
  readonly turns: readonly {
    readonly images: readonly string[];
    readonly text: string;
    readonly promptIds: readonly number[];
    readonly generated: readonly number[];
    readonly answer: string;
  }[];
}

const golden: ChatGolden = JSON.parse(readFileSync(join(GOLDEN, "multi-picture", "chat.json"), "utf8"));

let model: Llava | undefined;
afterEach(() => model?.dispose());

async function userMessage({ images, text }: ChatGolden["turns"][number]): Promise<ConversationMessage> {
  const pictures = await Promise.all(images.map((file) => readImageFile(join(folder, file))));
  return {
    role: "user",
    content: [...pictures.map((image) => ({ type: "image", image }) as const), { type: "text", text }],
  };
}

test.each(["tiny-llava", "llava-next"])("%s: each of five turns runs its own rows, logits and ids", async (name) => {
  const opened = await loadGoldenModel(name);
  model = opened;
  const file = await readTensorFile(`multi-picture/chat-${name}.safetensors`);
  const pixels = file.get("pixel_values");
  const sizes = name === "llava-next" ? file.ids("image_sizes") : undefined;
  using session = opened.session();
  let numHeld = 0;
  for (let turn = 0; turn < 5; turn++) {
    const numPictures = at(file.ids(`turn.${turn}.num_pictures`), 0);
    const numTiles = file
      .ids("tiles")
      .slice(0, numPictures)
      .reduce((sum, tiles) => sum + tiles, 0);
    const imageSizes =
      sizes &&
      Array.from({ length: numPictures }, (_, index) => [at(sizes, 2 * index), at(sizes, 2 * index + 1)] as const);
    const inputs = opened.processor.fromTensors({
      inputIds: file.ids(`turn.${turn}.expanded_ids`),
      pixelValues: pixels.data.slice(0, (pixels.data.length / at(pixels.shape, 0)) * numTiles),
      imageSizes,
    });
    const answer = await session.answer(inputs, { maxNewTokens: NEW_TOKENS, ignoreEos: true }).answer;
    expect(answer.tokens.map(({ tokenId }) => tokenId)).toEqual(file.ids(`turn.${turn}.generated`));
    expect([answer.promptTokens, answer.reusedTokens]).toEqual([inputs.inputIds.length, numHeld]);
    numHeld = inputs.inputIds.length + NEW_TOKENS - 1; // the last token is chosen, but not run
    if (turn < 4) continue; // the last prompt has all that came before
    const { tensors } = await opened.trace(inputs, { maxNewTokens: 1 });
    const logits = tensors.find((tensor) => tensor.name === "logits")?.data ?? [];
    expect(largestError(logits, file.get(`turn.${turn}.logits`).data)).toBeLessThan(PARITY.logits);
    const scaled = await opened.trace(inputs, { maxNewTokens: 1, method: "scaling", factor: 0.5 });
    expectScaled(scaled, inputs);
    expectRepeatable(scaled, { inputs, model: opened });
  }
});

/** Every image position of both pictures, newlines included, is scaled in each layer, and counts in its own picture's share. */
function expectScaled({ tensors, answer }: Trace, { images, inputIds }: ModelInputs): void {
  const numKeys = inputIds.length;
  const columns = images.map(({ runs }) =>
    runs.flatMap(([start, end]) => Array.from({ length: end - start }, (_, index) => start + index)),
  );
  const named = (name: string) => tensors.find((tensor) => tensor.name === name)?.data ?? new Float32Array();
  const { attention } = answer;
  if (attention === undefined) throw new Error("a trace has attention");
  for (let layer = 0; layer < attention.numLayers; layer++) {
    const scores = named(`layers.${layer}.attention_scores`);
    const probs = named(`layers.${layer}.attention_probs`);
    const expected = Float64Array.from(scores, (score, index) =>
      columns.flat().includes(index % numKeys) ? score * 0.5 : score,
    );
    for (let head = 0; head < attention.numHeads; head++) {
      const row = expected.subarray(head * numKeys, (head + 1) * numKeys);
      const exps = row.map((score) => Math.exp(score - Math.max(...row)));
      const sum = exps.reduce((total, value) => total + value, 0);
      row.set(exps.map((value) => value / sum));
      for (const [image, own] of columns.entries()) {
        const share = own.reduce((total, key) => total + at(row, key), 0);
        expect(attention.used({ layer, head, image }).share).toBeCloseTo(share, 5);
      }
    }
    expect(largestError(probs, expected)).toBeLessThan(PARITY.attentionProbs);
  }
}

/** A trace can be the input of another, and says what each position is and shows. */
function expectRepeatable(
  { tensors, metadata, answer }: Trace,
  { inputs, model }: { readonly inputs: ModelInputs; readonly model: Llava },
): void {
  const named = (name: string) => tensors.find((tensor) => tensor.name === name);
  const sizes = Array.from(named("image_sizes")?.data ?? []);
  const isTiled = model.config.multimodal?.pictureForm === "tiles";
  expect(sizes).toEqual(isTiled ? [40, 60, 90, 30] : []); // as in tools/goldens/chat.py
  const again = model.processor.fromTensors({
    inputIds: named("input_ids")?.data ?? [],
    pixelValues: named("pixel_values")?.data as Float32Array<ArrayBuffer>,
    imageSizes: isTiled ? [sizes.slice(0, 2) as [number, number], sizes.slice(2) as [number, number]] : undefined,
  });
  expect(again).toEqual(inputs);

  const kinds: readonly string[] = JSON.parse(metadata.token_kinds ?? "");
  const cells = named("image_cells");
  expect(kinds).toHaveLength(inputs.inputIds.length + answer.tokens.length);
  expect(kinds.at(-1)).toBe("generated");
  const rows = kinds.filter((kind) => /^(image|newline) \d$/.test(kind));
  expect(cells?.shape).toEqual([rows.length, 4]);
  for (const [row, kind] of rows.entries()) {
    const [left = 0, top = 0, right = 0, bottom = 0] = cells?.data.subarray(row * 4, row * 4 + 4) ?? [];
    expect((right - left) * (bottom - top) > 0).toBe(kind.startsWith("image"));
  }
  expect(new Set(rows)).toEqual(new Set(["image 0", "image 1", ...(isTiled ? ["newline 0", "newline 1"] : [])]));
  interface PictureOfTrace {
    readonly runs: unknown;
    readonly map: readonly number[];
    readonly cells: readonly (readonly number[] | null)[];
  }
  const pictures: readonly PictureOfTrace[] = JSON.parse(metadata.pictures ?? "");
  for (const [image, picture] of pictures.entries()) {
    const map = answer.attention?.used({ image });
    expect(picture).toMatchObject({ runs: inputs.images[image]?.runs, map: [map?.height, map?.width] });
  }
  // The same parts of the pictures as the tensor has: none, or left, top, right and bottom.
  const parts = pictures.flatMap(({ cells: own }) => own).map((part) => part ?? [0, 0, 0, 0]);
  expect(parts).toHaveLength(rows.length);
  expect(largestError(parts.flat(), cells?.data ?? [])).toBeLessThan(1e-4);
  expect(metadata.token_texts).toBeUndefined(); // these checkpoints have no tokenizer
}

test("tiny-spatial: words and pictures of five messages become transformers' ids, and so do the answers", async () => {
  const opened = await loadGoldenModel(TINY_SPATIAL);
  model = opened;
  using session = opened.session();
  for (const turn of golden.turns) {
    const message = await userMessage(turn);
    const { prompt, images } = opened.processor.conversation([...session.messages, message]);
    expect(Array.from(opened.processor.inputs(prompt, images).inputIds)).toEqual(turn.promptIds);
    const answer = await session.ask(message).answer;
    expect(answer.tokens.map(({ tokenId }) => tokenId)).toEqual(turn.generated);
    expect(answer.text.trim()).toBe(turn.answer);
  }
});

test("the map of an answer's first token is that of the last prompt row; a later token's row is read too", async () => {
  const opened = await loadGoldenModel(TINY_SPATIAL);
  model = opened;
  const first = at(golden.turns, 0);
  const file = join(folder, at(first.images, 0));
  const image = await readImageFile(file);
  const conversation = new Conversation(opened);
  const method = {
    name: "scaling",
    options: { method: "scaling", factor: 1.5, maxNewTokens: 3, ignoreEos: true },
    rmsNormEps: undefined,
  } as const;
  const signal = new AbortController().signal;
  const turn = await conversation.ask(first.text, [{ file, image }], { method, signal, onToken: () => undefined });
  const answer = at(turn?.answers ?? [], 0);
  expect(answer.text).toContain("Left");
  const drawn = await wordMap(opened, conversation, { word: "left", selection: { layer: 1 }, signal });
  const pictures = { images: [image, image], question: first.text };
  const parts = pictures.images.map((each) => ({ type: "image", image: each }) as const);
  const content = [...parts, { type: "text", text: first.text } as const];
  const rendered = opened.processor.conversation([{ role: "user", content }]);
  expect(opened.prepare(pictures)).toEqual(opened.processor.inputs(rendered.prompt, rendered.images));
  expect(() => opened.prepare({ ...pictures, image })).toThrow(InputError);
  const alone = await opened.ask({ image, question: first.text, method: "scaling", factor: 1.5, attention: true });
  expect(drawn.share).toBe(alone.attention?.used({ layer: 1 }).share);
  // As in a prompt that ends in the answer's first token: its row is then the last prompt row.
  const inputs = conversation.inputsOf(0);
  const { inputIds } = inputs;
  const extended = { ...inputs, inputIds: Int32Array.of(...inputIds, at(answer.tokens, 0).tokenId) };
  const place = "layers.1.attention_probs";
  const later = await opened.answer(inputs, {
    maxNewTokens: 3,
    ignoreEos: true,
    read: [{ place, positions: [inputIds.length] }],
  });
  const prompt = await opened.answer(extended, { maxNewTokens: 1, read: [{ place }] });
  expect(at(later.reads, 0).shape).toEqual(at(prompt.reads, 0).shape);
  expect(largestError(at(later.reads, 0).data, at(prompt.reads, 0).data)).toBeLessThan(PARITY.attentionProbs);
  await expect(wordMap(opened, conversation, { word: "purple", selection: {}, signal })).rejects.toThrow(InputError);
  conversation.close();
});
