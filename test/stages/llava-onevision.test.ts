// LLaVA-OneVision against transformers (tools/goldens/llava_onevision.py): one picture with its features resized or not, several
// pictures, a video, a conversation, factors, and the names that its tensors have in different files.
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { blobSource } from "../../src/checkpoint/blob-source.ts";
import { encodeSafetensors } from "../../src/checkpoint/safetensors-writer.ts";
import { readProcessedTensors } from "../../src/cli/trace.ts";
import { InputError } from "../../src/errors.ts";
import { Llava } from "../../src/llava.ts";
import type { PictureLayout } from "../../src/models/architecture.ts";
import { imageRuns, type ModelInputs } from "../../src/models/inputs.ts";
import { PictureEncoder } from "../../src/models/layers/picture-encoder.ts";
import { readArchitecture } from "../../src/models/registry.ts";
import { openTestDevice } from "../setup/device.ts";
import { GOLDEN, largestError, readTensorFile, type TensorFile } from "../setup/golden.ts";
import { loadGoldenModel } from "../setup/golden-model.ts";
import { PARITY } from "../setup/parity-bounds.ts";
import { rampPicture } from "../setup/ramp-picture.ts";

const NAME = "llava-onevision";
const ONE = ["one.0", "one.1", "one.2", "one.3", "one.4"];
const VIDEOS = ["video", "both"];
const PROMPTS = [...ONE, "three", ...VIDEOS, "turn.0", "turn.1", "turn.2", "text"];
const FACTORS = [0.5, 1.7];

let model: Llava;
let golden: TensorFile;
let pictures: PictureLayout | undefined;

beforeAll(async () => {
  model = await loadGoldenModel(NAME);
  golden = await readTensorFile(`${NAME}/expected.safetensors`);
  pictures = readArchitecture(JSON.parse(await readFile(`${GOLDEN}/${NAME}/config.json`, "utf8"))).pictures;
});
afterAll(() => model.dispose());

function sizesOf(prompt: string, of: "image" | "frame" = "image"): readonly (readonly [number, number])[] {
  if (!golden.has(`${prompt}.${of}_sizes`)) return [];
  const numbers = golden.ids(`${prompt}.${of}_sizes`);
  return numbers.flatMap((height, index) => (index % 2 === 0 ? [[height, numbers[index + 1] ?? 0] as const] : []));
}

/** The inputs of a prompt, its pictures prepared as `Processor.inputs` prepares them. */
function inputsOf(prompt: string): ModelInputs {
  const imageSizes = sizesOf(prompt);
  const processor = model.processor.imageProcessor;
  const values = imageSizes.map((size) => {
    const context = processor && { processor, numPictures: imageSizes.length };
    return (context && pictures?.pixelValues(rampPicture(...size), context)) ?? [];
  });
  const { videoProcessor } = model.processor;
  const frameSizes = sizesOf(prompt, "frame");
  const frames = frameSizes.map(
    (size) => (videoProcessor && pictures?.frames?.pixelValues(rampPicture(...size), videoProcessor)) ?? [],
  );
  const joined = (each: readonly ArrayLike<number>[]) => Float32Array.from(each.flatMap((one) => Array.from(one)));
  return model.processor.fromTensors({
    inputIds: golden.ids(`${prompt}.input_ids`),
    pixelValues: values.length === 0 ? undefined : joined(values),
    ...(values.length > 0 && { imageSizes }),
    ...(frames.length > 0 && { pixelValuesVideos: joined(frames), imageSizesVideos: [frameSizes] }),
  });
}

/** The runs of a prompt's pictures and videos, in order: a video's frames follow each other without a gap. */
function expectedRuns(prompt: string): readonly number[] {
  const of = (name: string) => (golden.has(`${prompt}.${name}`) ? golden.ids(`${prompt}.${name}`) : []);
  return [...of("runs"), ...of("video_runs")].sort((a, b) => a - b);
}

/** Runs without the borders between those that follow each other. */
function merged(runs: readonly (readonly [number, number])[]): readonly number[] {
  const ends = runs.flat();
  return ends.filter(
    (end, index) => index === 0 || index === ends.length - 1 || !(ends[index - 1] === end || ends[index + 1] === end),
  );
}

const OPTIONS = { maxNewTokens: 8, ignoreEos: true } as const;

describe("equals transformers", () => {
  test.each(PROMPTS)("%s: positions, features, logits and ids", async (prompt) => {
    const inputs = inputsOf(prompt);
    expect(merged(imageRuns(inputs))).toEqual(expectedRuns(prompt));
    const { tensors, answer } = await model.trace(inputs, OPTIONS);
    const named = (name: string) => tensors.find((tensor) => tensor.name === name)?.data ?? [];
    const features = inputs.images.flatMap((_, index) => [...golden.get(`${prompt}.image_features.${index}`).data]);
    expect(largestError(named("image_features"), features)).toBeLessThan(PARITY.hiddenStates);
    expect(largestError(named("logits"), golden.get(`${prompt}.logits`).data)).toBeLessThan(PARITY.logits);
    expect(answer.tokens.map(({ tokenId }) => tokenId)).toEqual(golden.ids(`${prompt}.generated`));
  });

  test.each(["one.0", "three", "video"].flatMap((prompt) => FACTORS.map((factor) => [prompt, factor] as const)))(
    "%s with the factor %f on all image positions",
    async (prompt, factor) => {
      const { tensors, answer } = await model.trace(inputsOf(prompt), { ...OPTIONS, method: "scaling", factor });
      const named = (name: string) => tensors.find((tensor) => tensor.name === name)?.data ?? [];
      const expected = (name: string) => golden.get(`f${factor}.${prompt}.${name}`).data;
      expect(largestError(named("logits"), expected("logits"))).toBeLessThan(PARITY.logits);
      for (const layer of [0, 1]) {
        const probs = named(`layers.${layer}.attention_probs`);
        expect(largestError(probs, expected(`probs.${layer}`))).toBeLessThan(PARITY.attentionProbs);
      }
      expect(answer.tokens.map(({ tokenId }) => tokenId)).toEqual([...expected("generated")]);
    },
  );

  test.each([
    ["published files", (name: string) => name.replace(/^vision_tower\./, "vision_tower.vision_model.")],
    [
      "transformers from 4.52 on",
      (name: string) =>
        `model.${name.replace(/^vision_tower\./, "vision_tower.vision_model.").replace(/^language_model\.model\./, "language_model.")}`,
    ],
  ])("with the names of %s", async (_, rename) => {
    const { device } = await openTestDevice();
    const read = async (file: string) => new Uint8Array(await readFile(`${GOLDEN}/${NAME}/${file}`));
    const json = ["config.json", "generation_config.json", "preprocessor_config.json"];
    const files = new Map(await Promise.all(json.map(async (file) => [file, new Blob([await read(file)])] as const)));
    files.set("model.safetensors", renamed(await read("model.safetensors"), rename));
    const other = await Llava.load(blobSource(files, "renamed"), { device });
    try {
      const answer = await other.answer(inputsOf("one.0"), OPTIONS);
      expect(answer.tokens.map(({ tokenId }) => tokenId)).toEqual(golden.ids("one.0.generated"));
    } finally {
      other.dispose();
    }
  });
});

test("the trace of a picture and a video holds them as transformers' processor makes them, and can be run again", async () => {
  const inputs = inputsOf("both");
  const { tensors } = await model.trace(inputs, { maxNewTokens: 1 });
  const shapes = Object.fromEntries(tensors.map(({ name, shape }) => [name, shape]));
  expect(shapes).toMatchObject({
    pixel_values: [7, 3, 14, 14],
    image_sizes: [1, 2],
    pixel_values_videos: [1, 2, 3, 14, 14],
    image_sizes_videos: [1, 2, 2],
  });
  const folder = await mkdtemp(join(tmpdir(), "adaptvis-video-"));
  try {
    const file = join(folder, "trace.safetensors");
    await writeFile(file, encodeSafetensors(tensors));
    const { vision } = model.config.multimodal ?? {};
    const read = await readProcessedTensors(file, { vision, signal: new AbortController().signal });
    expect(model.processor.fromTensors(read)).toEqual(inputs);
    const wrong = tensors.map((tensor) =>
      tensor.name === "image_sizes_videos" ? { ...tensor, shape: [2, 1, 2] } : tensor,
    );
    await writeFile(file, encodeSafetensors(wrong));
    await expect(readProcessedTensors(file, { vision, signal: new AbortController().signal })).rejects.toThrow(
      /image_sizes_videos must be I64 or I32 of shape \[1, 2, 2\], got I32 of shape \[2, 1, 2\]/,
    );
  } finally {
    await rm(folder, { recursive: true });
  }
});

/** A safetensors file with other names. */
function renamed(file: Uint8Array<ArrayBuffer>, rename: (name: string) => string): Blob {
  const end = 8 + Number(new DataView(file.buffer).getBigUint64(0, true));
  const header: Record<string, unknown> = JSON.parse(new TextDecoder().decode(file.subarray(8, end)));
  const entries = Object.entries(header).map(([name, entry]) => [name === "__metadata__" ? name : rename(name), entry]);
  const text = new TextEncoder().encode(JSON.stringify(Object.fromEntries(entries)));
  return new Blob([BigUint64Array.of(BigInt(text.length)), text, file.subarray(end)]);
}

describe("features that are kept", () => {
  test("are those of the same pixels and the same grid only", async () => {
    // Two pictures of one colour may have the same tiles and another padding.
    model.clearCaches();
    const encode = vi.spyOn(PictureEncoder.prototype, "encode");
    try {
      const alone = await model.answer(inputsOf("one.1"), OPTIONS);
      expect(encode).toHaveBeenCalledTimes(1);
      const again = inputsOf("one.1");
      expect((await model.answer(again, { ...OPTIONS, method: "scaling", factor: 1 })).text).toBe(alone.text);
      expect(encode).toHaveBeenCalledTimes(1);
      const image = again.images[0];
      const featureGrids = image?.featureGrids?.map((grid) => ({ ...grid, from: { ...grid.from, left: 0 } }));
      if (image === undefined || featureGrids === undefined) throw new Error("one.1 has no resized features");
      await model.answer({ ...again, images: [{ ...image, featureGrids }] }, OPTIONS);
      expect(encode).toHaveBeenCalledTimes(2);
    } finally {
      encode.mockRestore();
    }
  });

  test("a second picture makes a prompt's first one a single tile, so nothing before its text is taken over", async () => {
    const alone = await model.answer(inputsOf("turn.2"), { ...OPTIONS, reusePrefix: false });
    model.clearCaches();
    await model.answer(inputsOf("turn.1"), OPTIONS);
    const { reusedTokens, ...answer } = await model.answer(inputsOf("turn.2"), OPTIONS);
    expect({ ...answer, reusedTokens: 0 }).toEqual(alone);
    expect(reusedTokens).toBe(1);
  });
});

test.each([
  ["a tile that is not there", { firstTile: 13 }],
  ["patches beyond the tiles", { from: { top: 0, left: 4, height: 9, width: 9 } }],
  ["more rows than positions", { size: { width: 40, height: 40 } }],
  ["a size of nothing", { size: { width: 0, height: 4 } }],
])("feature grids with %s are refused", async (_, wrong) => {
  const inputs = inputsOf("one.0");
  const [image] = inputs.images;
  if (image === undefined) throw new Error("one.0 has no picture");
  const featureGrids = image.featureGrids?.map((grid, index) => (index === 0 ? grid : { ...grid, ...wrong }));
  const asked = model.answer({ ...inputs, images: [{ ...image, featureGrids }] }, OPTIONS);
  await expect(asked).rejects.toThrow(InputError);
  await expect(asked).rejects.toThrow(/featureGrids/);
});
