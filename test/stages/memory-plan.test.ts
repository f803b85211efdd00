// What a plan says against what a load and a question allocate on this adapter: equal, to the byte.
import { afterAll, expect, test } from "vitest";
import { openCheckpoint } from "../../src/checkpoint/checkpoint.ts";
import { fileSource } from "../../src/checkpoint/file-source.node.ts";
import { neededBytes } from "../../src/choose-form.ts";
import { InputError } from "../../src/errors.ts";
import type { WeightDtype } from "../../src/gpu/tensor.ts";
import { Llava } from "../../src/llava.ts";
import { type MemoryPlan, type PlanOptions, planMemory } from "../../src/memory-plan.ts";
import type { ImageSize } from "../../src/models/architecture.ts";
import { readArchitecture } from "../../src/models/registry.ts";
import { tinySpatial } from "../cli/command.ts";
import { openTestDevice } from "../setup/device.ts";
import { GOLDEN } from "../setup/golden.ts";

const closing: (() => Promise<void>)[] = [];

afterAll(async () => {
  for (const close of closing) await close();
});

const folderOf = (name: string) => (name === "tiny-spatial" ? tinySpatial : `${GOLDEN}/${name}`);

async function planOf(folder: string, options: PlanOptions) {
  const checkpoint = await openCheckpoint(fileSource(folder));
  closing.push(() => checkpoint.close());
  const architecture = readArchitecture(checkpoint.config);
  const { device, isSoftware } = await openTestDevice();
  const { limits, features, adapterInfo } = device;
  const planned = { limits, features, adapterInfo, isSoftware };
  return { plan: await planMemory(checkpoint, architecture, { ...options, device: planned }), architecture };
}

/** Asks a question of the plan's sizes. */
async function ask(
  llava: Llava,
  { promptLength, contextLength, numImages }: MemoryPlan,
  { imageSize, tiles }: { readonly imageSize: ImageSize; readonly tiles: number },
) {
  const { processor, config, tileShape = [0] } = llava;
  const tileLength = tileShape.reduce((product, size) => product * size, 1);
  const imageId = config.multimodal?.imageTokenId ?? 0;
  const numPixels = numImages * tiles * tileLength;
  const pixelValues = Float32Array.from({ length: numPixels }, (_, index) => Math.sin(index));
  const tensors = (inputIds: readonly number[]) => ({
    inputIds,
    pixelValues: numImages > 0 ? pixelValues : undefined,
    imageSizes: Array.from({ length: numImages }, () => imageSize),
  });
  // Markers become all the positions of their pictures.
  const pictures = processor.fromTensors(tensors([...Array.from({ length: numImages }, () => imageId), 5])).inputIds;
  const text = Array.from({ length: promptLength - pictures.length }, (_, index) => 6 + (index % 20));
  const inputs = processor.fromTensors(tensors([...pictures, ...text]));
  expect(inputs.inputIds.length).toBe(promptLength);
  await llava.answer(inputs, { maxNewTokens: contextLength - promptLength, ignoreEos: true });
}

const CASES: readonly (readonly [name: string, dtype: WeightDtype | undefined, options: PlanOptions])[] = [
  ["tiny-spatial", undefined, { maxNewTokens: 8 }],
  ["tiny-spatial", "f32", { numImages: 2, contextLength: 300, maxNewTokens: 8, kvDtype: "q8" }],
  ["tiny-spatial", "q4", { contextLength: 73, maxNewTokens: 8, activationDtype: "q8" }],
  ["tiny-llava", "f16", { maxNewTokens: 8, kvDtype: "f16", chunkRows: 32 }],
  ["tiny-llava", "q8", { maxNewTokens: 8 }],
  ["llava-odd-widths-bf16", undefined, { maxNewTokens: 8 }],
  ["llava-next", undefined, { maxNewTokens: 8 }],
  ["llava-onevision", undefined, { maxNewTokens: 8 }],
  ["llama-text-tied", "q4", { maxNewTokens: 8, lookahead: 2 }],
];

test.each(CASES)("%s in %s, %o", async (name, dtype, options) => {
  const folder = folderOf(name);
  const { plan, architecture } = await planOf(folder, { ...options, dtype });
  const { device } = await openTestDevice();
  const { kvDtype, activationDtype, chunkRows, lookahead } = options;
  const load = { kvDtype, activationDtype, chunkRows, lookahead };
  const llava = await Llava.load(fileSource(folder), { device, dtype, ...load });
  try {
    expect(plan.loadedBytes).toBe(llava.gpu.allocatedBytes);
    const sizes = (architecture.pictures?.sizes ?? []).filter((size) => size !== undefined);
    const count = (size: ImageSize) => architecture.pictures?.positions(size, {}).rowIndex.length ?? 0;
    const [imageSize = [1, 1] as const] = [...sizes].sort((a, b) => count(b) - count(a));
    await ask(llava, plan, { imageSize, tiles: architecture.pictures?.positions(imageSize, {}).numTiles ?? 1 });
    expect(plan.answeredBytes).toBe(llava.gpu.allocatedBytes);
    expect(plan.problem).toBeUndefined();
  } finally {
    llava.dispose();
  }
});

test("Llava.load with dtype auto takes the most exact form that fits", async () => {
  const { device } = await openTestDevice();
  const dtypeIn = async (memoryBytes: number) => {
    const llava = await Llava.load(fileSource(tinySpatial), { device, dtype: "auto", memoryBytes });
    llava.dispose();
    return llava.dtype;
  };
  const needs = neededBytes((await planOf(tinySpatial, {})).plan);
  expect(await dtypeIn(needs)).toBe("f16");
  expect(await dtypeIn(needs - 1)).toBe("q8");
  expect(await dtypeIn(1)).toBe("q4"); // nothing fits: the smallest
  const source = fileSource(tinySpatial);
  await expect(Llava.load(source, { device, dtype: "auto" })).rejects.toThrow(InputError);
  await expect(Llava.load(source, { device, memoryBytes: Number.NaN })).rejects.toThrow(
    "memoryBytes must be a number above 0, got NaN.",
  );
});
