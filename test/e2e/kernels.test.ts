// "What the kernels do" shows the passes, sources and values that the same answer has in Node.

import { expect, test } from "vitest";
import { explain } from "../../src/explain.ts";
import { decodeImage } from "../../src/index.node.ts";
import type { ExplainedPass } from "../../src/inspect/explained-pass.ts";
import { SETTINGS } from "./fixtures.ts";
import { openNodeModel } from "./node-model.ts";
import { openPages } from "./open-pages.ts";
import type { Playground } from "./playground.ts";

const { openLoaded } = openPages();
const QUESTION = "Where is the mug in relation to the dog? Answer with left, right, on or under.";

test("the passes, their shaders and their values are Node's", async () => {
  const playground = await openLoaded();
  await playground.askAndWait();
  const picture = await decodeImage(await playground.download("Download picture (PNG)"));
  const model = await openNodeModel();
  const inputs = model.prepare({ image: picture, question: QUESTION });
  const { passes, kernels } = await explain(model, inputs, {
    method: "adaptvis",
    ...SETTINGS,
  });

  await playground.showPasses();
  const lines = await playground.page.evaluate<string[]>(`[...document.querySelectorAll(".pass-line")].map((line) =>
    [".pass-index", ".pass-what", ".pass-kernel"].map((part) => line.querySelector(part).textContent).join(" "))`);
  expect(lines).toEqual(passes.map(({ index, what, kernel }) => `${index} ${what} ${kernel}`));

  // One of each stage that computes something else: the vision tower, the prompt, the step under the factor, the logits.
  const scaled = passes.find(({ stage, kernel }) => stage === "adaptvis step" && kernel.startsWith("attention"));
  const chosen = [
    passes[9],
    passes.find(({ stage }) => stage === "prefill"),
    scaled,
    passes.findLast(({ place }) => place === "lm_head"),
  ];
  for (const pass of chosen) {
    if (pass === undefined) throw new Error("Node's explanation lacks a pass.");
    const shown = await openPass(playground, pass);
    expect(shown.source).toBe(kernels[pass.kernel]?.wgsl.trimEnd());
    expect(shown.formula).toBe(kernels[pass.kernel]?.header.formula);
    expect(shown.outputs).toHaveLength(pass.outputs.length);
    for (const [index, { min, max, mean, rms }] of pass.outputs.entries()) {
      const { figures, numColors } = shown.outputs[index] ?? { figures: [], numColors: 0 };
      // Four digits are shown.
      for (const [place, value] of [min, max, mean, rms].entries()) {
        expect(Math.abs((figures[place] ?? Number.NaN) - value), `${pass.place}: ${value}`).toBeLessThan(
          1e-3 * Math.abs(value) + 1e-3,
        );
      }
      expect(numColors, `${pass.place}: its picture's colours`).toBeGreaterThan(3);
    }
  }
});

/** What the page shows of a pass. */
interface ShownPass {
  readonly source: string;
  readonly formula: string;
  /** Least, most, mean and root mean square, and how many colours the picture has. */
  readonly outputs: readonly { readonly figures: readonly number[]; readonly numColors: number }[];
}

async function openPass({ page }: Playground, { index }: ExplainedPass): Promise<ShownPass> {
  await page.evaluate(`location.hash = "pass=${index}"`);
  await page.locator(`#pass-${index}-detail`).waitFor();
  return await page.evaluate<ShownPass>(`((detail) => ({
    source: detail.querySelector("pre").textContent,
    formula: detail.querySelector(".formula").textContent,
    outputs: [...detail.querySelectorAll(".output")].map((output) => {
      const canvas = output.querySelector("canvas");
      const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      return {
        figures: [...output.querySelectorAll(".figures dd")].slice(0, 4).map((figure) => Number(figure.textContent)),
        numColors: new Set(new Uint32Array(data.buffer)).size,
      };
    }),
  }))(document.getElementById("pass-${index}-detail"))`);
}
