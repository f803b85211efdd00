// The embedded checkpoints against transformers on benchmark questions: tokenizer, picture, logits and whole answers.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { fileSource } from "../../src/checkpoint/file-source.node.ts";
import { Llava } from "../../src/llava.ts";
import { readImageFile } from "../../src/preprocess/decode-image.node.ts";
import { openTestDevice } from "../setup/device.ts";
import { GOLDEN, largestError, readTensorFile, type TensorFile } from "../setup/golden.ts";
import { PARITY } from "../setup/parity-bounds.ts";

interface Golden {
  readonly versions: { readonly transformers: string; readonly pillow: string };
  readonly factors: readonly number[];
  readonly rows: readonly {
    readonly image: string;
    readonly prompt: string;
    readonly gold: string;
    readonly replies: Readonly<Record<string, { readonly text: string; readonly confidence: number }>>;
  }[];
}

describe.each(["tiny-spatial", "tiny-habit"])("%s against transformers", (name) => {
  const folder = fileURLToPath(new URL(`../../weights/${name}`, import.meta.url));
  const golden = JSON.parse(readFileSync(`${GOLDEN}/${name}/parity.json`, "utf8")) as Golden; // our golden
  let model: Llava;
  let tensors: TensorFile;
  beforeAll(async () => {
    const { device } = await openTestDevice();
    model = await Llava.load(fileSource(folder), { device });
    tensors = await readTensorFile(`${name}/parity.safetensors`);
  });
  afterAll(() => model.dispose());

  test.each(golden.rows.map((row, index) => ({ ...row, index })))(
    "$image",
    async ({ image, prompt, replies, index }) => {
      const picture = await readImageFile(`${folder}/${image}`);
      const inputs = model.prepare({ prompt, image: picture });
      expect(Array.from(inputs.inputIds)).toEqual(tensors.ids(`q${index}.input_ids`));
      const pixels = tensors.get(`q${index}.pixel_values`).data;
      expect(largestError(inputs.images[0]?.pixelValues ?? [], pixels)).toBeLessThan(PARITY.jpegPixelValues);
      for (const [factor, reply] of Object.entries(replies)) {
        const options = { method: "scaling", factor: Number(factor), maxNewTokens: 8 } as const;
        const trace = await model.trace(
          { ...inputs, images: inputs.images.map((image) => ({ ...image, pixelValues: pixels })) },
          options,
        );
        const logits = trace.tensors.find(({ name }) => name === "logits")?.data ?? [];
        expect(largestError(logits, tensors.get(`q${index}.logits.${factor}`).data)).toBeLessThan(PARITY.logits);
        const ids = tensors.ids(`q${index}.generated.${factor}`);
        expect(trace.answer.tokens.map(({ tokenId }) => tokenId)).toEqual(ids);
        // And from the picture file on, with nothing of transformers between.
        const answer = await model.answer(inputs, options);
        expect(answer.tokens.map(({ tokenId }) => tokenId)).toEqual(ids);
        expect(answer.text).toBe(reply.text);
        expect(answer.confidence).toBeCloseTo(reply.confidence, 2);
      }
    },
  );

  test("a question goes through the chat template to the prompt it was trained with", async () => {
    const [row] = golden.rows;
    if (row === undefined) throw new Error("the golden has no rows");
    const question = /USER: (.*)\nASSISTANT:/.exec(row.prompt)?.[1] ?? "";
    const picture = await readImageFile(`${folder}/${row.image}`);
    const asked = model.prepare({ question, image: picture });
    expect(Array.from(asked.inputIds)).toEqual(tensors.ids("q0.input_ids"));
    const answer = await model.ask({ question, image: picture });
    expect(answer.text).toBe(row.replies["1.0"]?.text);
    expect(answer.finishReason).toBe("eos");
  });

  test("confidence over the options of the question", async () => {
    const [row] = golden.rows;
    if (row === undefined) throw new Error("the golden has no rows");
    const picture = await readImageFile(`${folder}/${row.image}`);
    const confidence = [" Left", " Right", " On", " Under"];
    const answer = await model.ask({
      prompt: row.prompt,
      image: picture,
      method: "adaptvis",
      confidence,
      roundConfidence: false,
    });
    const logits = tensors.get("q0.logits.1.0").data;
    const values = confidence.map((option) => logits[model.processor.firstTokenOf(option)] ?? 0);
    const largest = Math.max(...values);
    const expected = 1 / values.reduce((sum, value) => sum + Math.exp(value - largest), 0);
    expect(Math.abs(answer.confidence - expected)).toBeLessThan(PARITY.attentionProbs);
    const greedy = await model.ask({ prompt: row.prompt, image: picture, confidence, roundConfidence: false });
    expect(greedy.confidence).toBe(answer.confidence);
  });

  test("a stop string ends the answer and is not shown", async () => {
    const picture = await readImageFile(`${folder}/${golden.rows[0]?.image ?? ""}`);
    const question = "What is in the picture?";
    const whole = await model.ask({ image: picture, question });
    const [, stop = ""] = / (\w+) and /.exec(whole.text) ?? [];
    expect(stop).not.toBe("");
    const cut = await model.ask({ image: picture, question, stop: [stop] });
    expect(cut.finishReason).toBe("stop");
    expect(cut.text).toBe(whole.text.slice(0, whole.text.indexOf(stop)));
  });
});
