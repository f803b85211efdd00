// Llava.score against the log-probabilities that generation reports for the same tokens.
import { expect, test } from "vitest";
import { goldenInputs, largestError, readTensorFile } from "../setup/golden.ts";
import { loadGoldenModel } from "../setup/golden-model.ts";
import { PARITY } from "../setup/parity-bounds.ts";

test.each(["f32", "q4"] as const)(
  "the scores of a greedy continuation are its tokens' log-probabilities, %s",
  async (dtype) => {
    const name = "llama-text-tied";
    const model = await loadGoldenModel(name, { dtype });
    const inputs = goldenInputs(model, await readTensorFile(`${name}/expected.safetensors`));
    const { tokens } = await model.answer(inputs, { maxNewTokens: 6, ignoreEos: true });
    const inputIds = [...inputs.inputIds, ...tokens.map(({ tokenId }) => tokenId)];
    const scores = await model.score(model.processor.fromTensors({ inputIds, pixelValues: undefined }));
    expect(scores).toHaveLength(inputIds.length - 1);
    expect(
      largestError(
        scores.slice(-6),
        tokens.map(({ logProb }) => logProb),
      ),
    ).toBeLessThan(PARITY.logits);
    model.dispose();
  },
);
