// Rotary embeddings for long contexts, and sliding windows, against transformers (tools/goldens/long_context.py): beyond the
// windows and the original contexts, in chunks, over reused prefixes, under a factor.
import { readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { describe, expect, test } from "vitest";
import { blobSource } from "../../src/checkpoint/blob-source.ts";
import { at } from "../../src/errors.ts";
import { logProbability } from "../../src/generate/continuations.ts";
import { Llava } from "../../src/llava.ts";
import { openTestDevice } from "../setup/device.ts";
import { GOLDEN, readTensorFile } from "../setup/golden.ts";
import { PARITY } from "../setup/parity-bounds.ts";
import { parityProblems, same, within } from "../setup/parity-check.ts";

const FOLDER = `${GOLDEN}/long-context`;
const CASES = JSON.parse(readFileSync(`${FOLDER}/cases.json`, "utf8")) as Readonly<
  Record<string, { readonly weights: string; readonly config: object }>
>; // written by the generator
const golden = await readTensorFile("expected.safetensors", FOLDER);

/** Rows of a chunk: every prompt takes two or more. */
const CHUNK_ROWS = 16;

/** Prompts that are compared at every position, one forward call each; the others at their last one, which depends on all. */
const SCORED = ["dynamic-long", "yarn", "mistral-window", "qwen2-layer-types", "llava-window"];

const { device } = await openTestDevice();

async function load(name: string): Promise<Llava> {
  const { weights, config } = at(
    [CASES[name]].flatMap((found) => found ?? []),
    0,
  );
  const files = new Map([
    ["config.json", new Blob([JSON.stringify(config)])],
    ["model.safetensors", new Blob([await readFile(`${FOLDER}/${weights}/model.safetensors`)])],
  ]);
  return Llava.load(blobSource(files, name), { device, chunkRows: CHUNK_ROWS });
}

/** The case's prompt, or what its first tokens are. */
function promptOf(model: Llava, ids: readonly number[]) {
  const pixelValues = model.config.multimodal && golden.get("pixel_values").data;
  return model.processor.fromTensors({ inputIds: ids, pixelValues });
}

describe.each(Object.keys(CASES))("%s", (name) => {
  const ids = golden.ids(`${name}.input_ids`);
  const generated = golden.ids(`${name}.generated`);
  const all = golden.get(`${name}.logits`);
  const numTokens = at(all.shape, 1);
  const logits = generated.map((_, step) => all.data.slice(step * numTokens, (step + 1) * numTokens));
  const length = { maxNewTokens: generated.length, ignoreEos: true };

  test("logits, attention and greedy ids equal transformers'", async () => {
    using model = await load(name);
    const inputs = promptOf(model, ids);
    const factors = golden.has(`${name}.f1.5.generated`) ? [1, 1.5] : [1];
    const checks = [];
    for (const factor of factors) {
      const prefix = factor === 1 ? name : `${name}.f${factor}`;
      const method = factor === 1 ? {} : ({ method: "scaling", factor } as const);
      const { tensors } = await model.trace(inputs, { ...length, ...method });
      const traced = new Map(tensors.map((tensor) => [tensor.name, tensor.data]));
      for (let layer = 0; layer < 2; layer++) {
        const probs = traced.get(`layers.${layer}.attention_probs`) ?? [];
        const expected = golden.get(`${prefix}.probs.${layer}`).data;
        checks.push(within(`${prefix}, attention of layer ${layer}`, PARITY.attentionProbs, [probs, expected]));
      }
      const first = golden.get(`${prefix}.logits`).data.slice(0, numTokens);
      checks.push(within(`${prefix}, logits`, PARITY.logits, [traced.get("logits") ?? [], first]));
      const expectedIds = golden.ids(`${prefix}.generated`);
      checks.push(same(`${prefix}, ids`, Array.from(traced.get("generated_ids") ?? []), expectedIds));
    }
    if (SCORED.includes(name)) {
      const scores = await model.session().score(inputs);
      const expected = golden.get(`${name}.log_probs`).data;
      checks.push(within("log-probabilities of the prompt", PARITY.logits, [scores, expected]));
    }
    if (factors.length > 1) {
      const swept = await model.session().sweep(inputs, factors, { maxNewTokens: generated.length, ignoreEos: true });
      const [plain, scaled] = swept.map(({ tokenIds }) => tokenIds);
      checks.push(same("batch row of factor 1", plain ?? [], generated));
      checks.push(same("batch row of factor 1.5", scaled ?? [], golden.ids(`${name}.f1.5.generated`)));
    }
    expect(parityProblems(checks)).toEqual([]);
  });

  test("a session that has answered a shorter prompt answers this one the same", async () => {
    using model = await load(name);
    const session = model.session();
    // With dynamic embeddings, rows of a prompt beyond max_position_embeddings fit no prompt of another length.
    const begun = name === "dynamic-long" ? golden.ids("dynamic-crossing.input_ids") : ids.slice(0, -4);
    const short = promptOf(model, begun);
    const isOutgrown = name === "dynamic-long" || name === "dynamic-theta";
    const briefly = isOutgrown ? length : { maxNewTokens: 1 };
    const before = await session.answer(short, briefly).answer;
    const answer = await session.answer(promptOf(model, ids), { ...length, topLogProbs: numTokens }).answer;
    expect(answer.reusedTokens).toBe(isOutgrown ? 0 : short.inputIds.length);
    const checks = answer.tokens.flatMap(({ tokenId, top }, step) => {
      const expected = top.map((token) => logProbability(at(logits, step), token.tokenId));
      const found = top.map(({ logProb }) => logProb);
      return [
        same(`token ${step}`, [tokenId], [at(generated, step)]),
        within(`log-probabilities of all tokens at ${step}`, PARITY.logits, [found, expected]),
      ];
    });
    expect(parityProblems(checks)).toEqual([]);
    const again = await session.answer(short, briefly).answer;
    expect(again.tokens.map(({ tokenId }) => tokenId)).toEqual(before.tokens.map(({ tokenId }) => tokenId));
    session.close();
  });
});
