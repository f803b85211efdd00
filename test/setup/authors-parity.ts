// ScalingVis and AdaptVis against the outputs of the authors' code (test/golden/README.md says how they were made), in any host.
import type { Llava } from "../../src/llava.ts";
import { goldenInputs, type TensorFile } from "./golden.ts";
import { PARITY } from "./parity-bounds.ts";
import { type ParityCheck, same, within } from "./parity-check.ts";

/** Checkpoints of one shape in four forms. */
export const AUTHORS_CHECKPOINTS = ["tiny-llava", "tiny-llava-gqa", "tiny-llava-bf16", "tiny-llava-f16-sharded"];

/** Factors of adaptvis_expected.safetensors, and those for which it has a padded prompt too. */
export const AUTHORS_FACTORS = ["1.0", "0.5", "0.8", "1.2", "1.5", "2.0"];
export const PADDED_FACTORS = ["1.0", "0.5", "1.5"];

/** One prompt of adaptvis_flips.json. */
export interface FlipCase {
  readonly case: number;
  readonly input_ids: readonly number[];
  readonly runs: Readonly<Record<string, { readonly tokens: readonly number[]; readonly confidence_2dp: number }>>;
  readonly adaptvis: {
    readonly threshold: number;
    readonly weight1: number;
    readonly weight2: number;
    readonly chosen: number;
    readonly tokens: readonly number[];
  };
}

/** Stages, logits of the last row and greedy ids of the unmodified pass. */
export async function plainChecks(model: Llava, golden: TensorFile): Promise<readonly ParityCheck[]> {
  // The bf16 and f16 folders hold no generated ids: their logits' argmax is the first.
  const generated = golden.has("generated") ? golden.ids("generated").slice(golden.ids("input_ids").length) : undefined;
  const traced = await traceOf(model, goldenInputs(model, golden), { maxNewTokens: generated?.length ?? 1 });
  const logits = golden.get("logits").data.slice(-(golden.get("logits").shape[2] ?? 0));
  const argmax = logits.indexOf(Math.max(...logits));
  const stages = [
    ["layers.0.attention_probs", lastRows(golden.get("text_attn.0")), PARITY.attentionProbs],
    ["image_features", dataOf(golden, "image_features"), PARITY.hiddenStates],
    ["inputs_embeds", dataOf(golden, "text_hidden.0"), PARITY.hiddenStates],
  ] as const;
  return [
    within("logits", PARITY.logits, [traced("logits"), logits]),
    same("ids", Array.from(traced("generated_ids")), generated ?? [argmax]),
    ...stages.flatMap(([name, data, bound]) => (data === undefined ? [] : [within(name, bound, [traced(name), data])])),
  ];
}

/** Ids, logits of every step, attention as used, in the first decode step and in the unmodified pass, under one factor. @param plain tiny-llava's own golden, with the inputs */
export async function factorChecks(
  model: Llava,
  factor: string,
  { golden, plain }: { readonly golden: TensorFile; readonly plain: TensorFile },
): Promise<readonly ParityCheck[]> {
  const generated = golden.ids(`w${factor}.generated`).slice(plain.ids("input_ids").length);
  const inputs = goldenInputs(model, plain);
  const traced = await scaledTrace(model, inputs, { factor, numNew: generated.length });
  const first = firstScores(golden, `w${factor}.scores`);
  const later = golden.get(`w${factor}.scores`).data.slice(first.length);
  const numHeads = model.config.text.numAttentionHeads;
  const numKeys = inputs.inputIds.length + 1;
  return [
    same("ids", Array.from(traced("generated_ids")), generated),
    within("logits", PARITY.logits, [traced("logits"), first]),
    within("logits of decode steps", PARITY.logits, [traced("generated.logits"), later]),
    ...[0, 1].flatMap((layer) => {
      const expected = lastRows(golden.get(`w${factor}.attn_used.${layer}`));
      const probs = traced(`layers.${layer}.attention_probs`);
      const decoded = firstStep(traced(`generated.layers.${layer}.attention_probs`), { numHeads, numKeys });
      const unscaled = golden.get(`w${factor}.attn_decode1.${layer}`).data;
      return [
        within(`layer ${layer} attention`, PARITY.attentionProbs, [probs, expected]),
        within(`layer ${layer} attention of the first decode step`, PARITY.attentionProbs, [decoded, unscaled]),
      ];
    }),
    ...unmodifiedChecks(traced, factor, { golden, plain }),
  ];
}

/** The unmodified pass beside a factor's; nothing where the factor is 1. */
function unmodifiedChecks(
  traced: Traced,
  factor: string,
  { golden, plain }: { readonly golden: TensorFile; readonly plain: TensorFile },
): readonly ParityCheck[] {
  const logits = traced("unmodified.logits");
  if (factor === "1.0") return [same("no unmodified pass", [logits.length], [0])];
  const probs = traced("unmodified.layers.1.attention_probs");
  return [
    within("unmodified logits", PARITY.logits, [logits, firstScores(golden, "w1.0.scores")]),
    within("unmodified attention", PARITY.attentionProbs, [probs, lastRows(plain.get("text_attn.1"))]),
  ];
}

/** A prompt that the authors pad on the left, here without its padding: it changes nothing. */
export async function paddedChecks(
  model: Llava,
  factor: string,
  { golden, plain }: { readonly golden: TensorFile; readonly plain: TensorFile },
): Promise<readonly ParityCheck[]> {
  const mask = golden.ids("pad.attention_mask");
  const padded = golden.ids("pad.input_ids");
  const inputIds = padded.filter((_, i) => mask[i] === 1);
  if (inputIds.length === padded.length) throw new Error("pad.input_ids has no padding.");
  const generated = golden.ids(`pad_w${factor}.generated`).slice(padded.length);
  const inputs = model.processor.fromTensors({ inputIds, pixelValues: plain.get("pixel_values").data });
  const traced = await scaledTrace(model, inputs, { factor, numNew: generated.length });
  return [
    same("ids", Array.from(traced("generated_ids")), generated),
    within("logits", PARITY.logits, [traced("logits"), firstScores(golden, `pad_w${factor}.scores`)]),
  ];
}

/** A prompt whose first token depends on the factor: ids and confidence under each, and AdaptVis' choice. */
export async function flipChecks(model: Llava, flip: FlipCase, pictures: TensorFile): Promise<readonly ParityCheck[]> {
  const pixelValues = pictures.get(`case${flip.case}.pixel_values`).data;
  const inputs = model.processor.fromTensors({ inputIds: flip.input_ids, pixelValues });
  const checks: ParityCheck[] = [];
  for (const [factor, run] of Object.entries(flip.runs)) {
    const options = { factor: Number(factor), maxNewTokens: run.tokens.length, ignoreEos: true };
    const answer = await model.answer(inputs, { method: "scaling", ...options });
    checks.push(same(`factor ${factor} ids`, idsOf(answer), run.tokens));
    checks.push(same(`factor ${factor} confidence`, [answer.confidence], [run.confidence_2dp]));
  }
  const { threshold, weight1, weight2, chosen, tokens } = flip.adaptvis;
  const answer = await model.answer(inputs, {
    method: "adaptvis",
    alpha1: weight1,
    alpha2: weight2,
    beta: threshold,
    maxNewTokens: tokens.length,
    ignoreEos: true,
  });
  checks.push(same("chosen factor", [answer.factor], [chosen]));
  checks.push(same("AdaptVis ids", idsOf(answer), tokens));
  return checks;
}

/** Trace points by name; an empty list for one that is not there, which is within no bound. */
type Traced = (name: string) => ArrayLike<number>;

async function traceOf(
  model: Llava,
  inputs: Parameters<Llava["trace"]>[0],
  options: Parameters<Llava["trace"]>[1],
): Promise<Traced> {
  const { tensors } = await model.trace(inputs, { ...options, ignoreEos: true }, { generated: true, unmodified: true });
  const named = new Map(tensors.map(({ name, data }) => [name, data]));
  return (name) => named.get(name) ?? [];
}

function scaledTrace(
  model: Llava,
  inputs: Parameters<Llava["trace"]>[0],
  { factor, numNew }: { readonly factor: string; readonly numNew: number },
): Promise<Traced> {
  return traceOf(model, inputs, { method: "scaling", factor: Number(factor), maxNewTokens: numNew });
}

function dataOf(golden: TensorFile, name: string): Float32Array | undefined {
  return golden.has(name) ? golden.get(name).data : undefined;
}

/** The first generated token's row of scores [1, n, V]. */
function firstScores(golden: TensorFile, name: string): Float32Array {
  const { data, shape } = golden.get(name);
  return data.slice(0, shape[2]);
}

/** The first row [H, numKeys] of attention [n, H, numKeys + n − 1]. */
function firstStep(
  attention: ArrayLike<number>,
  { numHeads, numKeys }: { readonly numHeads: number; readonly numKeys: number },
): ArrayLike<number> {
  // n · numHeads · (numKeys + n − 1) numbers: the longest row is found by trying n.
  let numRows = 1;
  while (numRows * numHeads * (numKeys + numRows - 1) < attention.length) numRows++;
  const stride = numKeys + numRows - 1;
  return Float32Array.from({ length: numHeads * numKeys }, (_, i) =>
    Number(attention[Math.floor(i / numKeys) * stride + (i % numKeys)]),
  );
}

/** The last query row of attention [1, H, T, T], as [H, T]. */
function lastRows(attention: { readonly shape: readonly number[]; readonly data: Float32Array }): Float32Array {
  const [, numHeads = 0, , numKeys = 0] = attention.shape;
  return Float32Array.from({ length: numHeads * numKeys }, (_, i) => {
    const head = Math.floor(i / numKeys);
    return attention.data[(head + 1) * numKeys * numKeys - numKeys + (i % numKeys)] ?? 0;
  });
}

function idsOf(answer: { readonly tokens: readonly { readonly tokenId: number }[] }): readonly number[] {
  return answer.tokens.map(({ tokenId }) => tokenId);
}
