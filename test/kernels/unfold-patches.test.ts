import { describe, test } from "vitest";
import { unfoldPatches } from "../../src/gpu/ops/vision.ts";
import { padTo4 } from "../../src/gpu/tensor.ts";
import { createRandom } from "../reference/random.ts";
import { padRows } from "../reference/rows.ts";
import { unfoldPatches as twin } from "../reference/unfold-patches.ts";
import { BOUNDS } from "../setup/bounds.ts";
import { expectClose } from "../setup/expect-close.ts";
import { runKernel } from "../setup/run-kernel.ts";

const CASES = [
  { title: "CLIP-336's patches", numImages: 1, numChannels: 3, imageSize: 56, patchSize: 14 },
  { title: "three pictures", numImages: 3, numChannels: 3, imageSize: 28, patchSize: 14 },
  { title: "patches of 16, which fill a workgroup thrice", numImages: 1, numChannels: 3, imageSize: 48, patchSize: 16 },
  { title: "rows of 75 real columns in 76", numImages: 2, numChannels: 3, imageSize: 20, patchSize: 5 },
  {
    title: "a rest at the right and lower edge that no patch covers",
    numImages: 1,
    numChannels: 3,
    imageSize: 33,
    patchSize: 14,
  },
  { title: "one pixel", numImages: 1, numChannels: 1, imageSize: 1, patchSize: 1 },
];

describe("unfoldPatches", () => {
  test.each(CASES)("$title", async ({ numImages, numChannels, imageSize, patchSize }) => {
    const pixels = createRandom(imageSize).normals(numImages * numChannels * imageSize * imageSize);
    const numPatches = Math.floor(imageSize / patchSize) ** 2;
    const columns = numChannels * patchSize * patchSize;
    for (let imageIndex = 0; imageIndex < numImages; imageIndex++) {
      const call = { imageIndex, imageSize, patchSize, numChannels };
      const { output } = await runKernel(({ program, upload, output }) => {
        const target = output(numPatches * padTo4(columns));
        unfoldPatches(program, { pixels: upload(pixels), output: target, ...call });
        return { output: target };
      });
      const expected = padRows(twin(pixels, call), columns, padTo4(columns));
      expectClose(output, expected, BOUNDS.exact, { shape: [numPatches, padTo4(columns)] });
    }
  });
});
