// Prompts and pictures to inputs, on the embedded checkpoint's files; no GPU.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Checkpoint, openCheckpoint } from "../../src/checkpoint/checkpoint.ts";
import { fileSource } from "../../src/checkpoint/file-source.node.ts";
import { InputError } from "../../src/errors.ts";
import { imageRuns } from "../../src/models/inputs.ts";
import { expandText, loadProcessor, type Processor } from "../../src/models/processor.ts";
import { readArchitecture } from "../../src/models/registry.ts";
import type { RgbImage } from "../../src/preprocess/image.ts";
import { tinySpatial } from "../cli/command.ts";
import { GOLDEN } from "../setup/golden.ts";

async function open(folder: string): Promise<{ checkpoint: Checkpoint; processor: Processor }> {
  const checkpoint = await openCheckpoint(fileSource(folder));
  return { checkpoint, processor: await loadProcessor(checkpoint, readArchitecture(checkpoint.config)) };
}

let processor: Processor;
let checkpoint: Checkpoint;
beforeAll(async () => {
  ({ checkpoint, processor } = await open(tinySpatial));
});
afterAll(() => checkpoint.close());

const picture = (value: number): RgbImage => ({ width: 8, height: 8, data: new Uint8Array(192).fill(value) });

describe("several pictures", () => {
  test("take the image tokens in their order", () => {
    const inputs = processor.inputs("<image> and <image>?", [picture(10), picture(200)]);
    const [first, second] = inputs.images;
    const length = first?.rowIndex.length ?? 0;
    expect(imageRuns(inputs).map(([start, end]) => end - start)).toEqual([length, length]);
    expect(first?.pixelValues).not.toEqual(second?.pixelValues);
    const alone = processor.inputs("<image>?", [picture(200)]);
    expect(second?.pixelValues).toEqual(alone.images[0]?.pixelValues);
  });

  test.each([
    ["<image>?", 2, /1 image token .* for 2 pictures/],
    ["<image><image>?", 1, /2 image tokens .* for one picture/],
    ["what?", 2, /no image token .* for 2 pictures/],
    ["<image>", 0, /there is no picture/],
  ])("%j for %d pictures is refused", (prompt, numPictures, message) => {
    const images = Array.from({ length: numPictures }, () => picture(9));
    expect(() => processor.inputs(prompt, images)).toThrow(InputError);
    expect(() => processor.inputs(prompt, images)).toThrow(message);
  });
});

test("a conversation gives its prompt and its pictures", () => {
  const [a, b] = [picture(1), picture(2)];
  const { prompt, images } = processor.conversation([
    {
      role: "user",
      content: [
        { type: "image", image: a },
        { type: "text", text: "where is the cup?" },
      ],
    },
    { role: "assistant", content: "left" },
    {
      role: "user",
      content: [
        { type: "image", image: b },
        { type: "text", text: "and here?" },
      ],
    },
  ]);
  expect(images).toEqual([a, b]);
  expect(prompt.split("<image>")).toHaveLength(3);
  expect(processor.inputs(prompt, images).images).toHaveLength(2);
});

test("of LLaVA-NeXT's pictures each has its own size", async () => {
  const next = await open(`${GOLDEN}/llava-next`);
  const { multimodal } = readArchitecture(next.checkpoint.config).config;
  if (multimodal === undefined) throw new Error("expected a vision tower");
  const { imageSize, numChannels } = multimodal.vision;
  const inputIds = [1, multimodal.imageTokenId, 5, multimodal.imageTokenId];
  const imageSizes = [
    [30, 60],
    [60, 30],
  ] as const;
  const tiles = (count: number) => new Float32Array(count * numChannels * imageSize ** 2);
  const needed = /pixel_values must hold (\d+) ×/.exec(
    String(failure(() => next.processor.fromTensors({ inputIds, pixelValues: tiles(1), imageSizes }))),
  )?.[1];
  const inputs = next.processor.fromTensors({ inputIds, pixelValues: tiles(Number(needed)), imageSizes });
  expect(inputs.images.map(({ grid }) => grid)).toEqual([undefined, undefined]);
  const [first, second] = inputs.images;
  expect(first?.rowIndex).not.toEqual(second?.rowIndex);
  expect(inputs.inputIds).toHaveLength(2 + (first?.rowIndex.length ?? 0) + (second?.rowIndex.length ?? 0));
  expect(() => next.processor.fromTensors({ inputIds, pixelValues: tiles(1) })).toThrow("image_sizes is missing");
  await next.checkpoint.close();
});

test("a family's own text takes the place of its pictures' tokens", () => {
  const options = { imageToken: "<image>", texts: ["(<image><image>)", undefined] };
  expect(expandText("a <image> b <image> c", options)).toBe("a (<image><image>) b <image> c");
  expect(expandText("a <image> b", { imageToken: "<image>", texts: [undefined] })).toBe("a <image> b");
});

function failure(work: () => unknown): unknown {
  try {
    work();
  } catch (error) {
    return error;
  }
  throw new Error("expected a failure");
}
