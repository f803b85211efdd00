// Every stage against Hugging Face transformers on tiny checkpoints (tools/goldens/checkpoints.py and test/golden/README.md).
import { afterAll, describe, expect, test } from "vitest";
import type { Llava } from "../../src/llava.ts";
import { readTensorFile } from "../setup/golden.ts";
import { loadGoldenModel } from "../setup/golden-model.ts";
import { parityProblems } from "../setup/parity-check.ts";
import { TRANSFORMERS_CASES, transformersChecks } from "../setup/transformers-parity.ts";

describe.each(TRANSFORMERS_CASES)("%s/%s", (name, file) => {
  let model: Llava | undefined;
  afterAll(() => model?.dispose());

  test("vision tower, projector, attention, logits and greedy ids equal transformers'", async () => {
    model = await loadGoldenModel(name);
    const checks = await transformersChecks(model, await readTensorFile(`${name}/${file}.safetensors`));
    expect(checks.length).toBeGreaterThanOrEqual(4);
    expect(parityProblems(checks)).toEqual([]);
  });
});
