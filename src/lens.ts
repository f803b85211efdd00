// The logit lens: hidden states of any layer and position through the final norm and lm_head, as if the later layers were left
// out. Of image tokens, it shows which words a patch holds.
// https://www.lesswrong.com/posts/AcKRB8wDpdaN6v6ru/interpreting-gpt-the-logit-lens
import type { Answer, AnswerOptions } from "./answer.ts";
import { lensOptions, modelInputs } from "./check-arguments.ts";
import { at, InputError, shown } from "./errors.ts";
import type { PlaceValues } from "./inspect/places.ts";
import { positionsOf } from "./inspect/read-expression.ts";
import { readContext } from "./inspect/read-trace.ts";
import { TokenTexts } from "./inspect/token-texts.ts";
import type { Llava } from "./llava.ts";
import type { ModelInputs } from "./models/inputs.ts";

/** Where the lens looks, and the options of the answer whose run it looks into; `maxNewTokens` is 1 unless given. */
export interface LensOptions extends Omit<AnswerOptions, "read"> {
  /** Layers after which hidden states are taken; −1 is the decoder's input. All and −1 unless given. */
  readonly layers?: readonly number[] | undefined;
  /** Positions, or a text such as `image,last`, as behind the @ of a read; the last prompt position unless given. */
  readonly positions?: readonly number[] | string | undefined;
  /** Most probable tokens per layer and position, 1 to 100; 5 unless given. */
  readonly topTokens?: number | undefined;
  /** Whether the final norm is applied before lm_head; true unless given. */
  readonly isNormalized?: boolean | undefined;
}

/** A token that hidden states give. */
export interface LensToken {
  readonly tokenId: number;
  /** Undefined without a tokenizer. */
  readonly text: string | undefined;
  readonly probability: number;
  readonly logit: number;
}

/** What the hidden state of one layer and position gives. */
export interface LensRow {
  /** −1 for the decoder's input. */
  readonly layer: number;
  readonly position: number;
  /** The most probable first. */
  readonly tokens: readonly LensToken[];
}

/** What the lens shows of one run. */
export interface Lens {
  readonly answer: Answer;
  readonly layers: readonly number[];
  /** Those that ran, ascending. */
  readonly positions: readonly number[];
  /** Layer by layer, each with all positions. */
  readonly rows: readonly LensRow[];
}

/** Hidden states whose logits are computed and read back at once. */
const BATCH_ROWS = 32;

/**
 * Answers, and shows which tokens the hidden states on the way give: their most probable ones, by layer and position.
 * @throws InputError for a bad option, or a layer or position that does not exist; AbortError; GpuError.
 */
export async function logitLens(model: Llava, inputs: ModelInputs, options: LensOptions = {}): Promise<Lens> {
  const { layers: given, positions = "last", topTokens = 5, isNormalized = true, ...asked } = lensOptions(options);
  const checked = modelInputs(inputs, model);
  const { numHiddenLayers, hiddenSize, vocabSize } = model.config.text;
  const layers = given ?? Array.from({ length: numHiddenLayers + 1 }, (_, index) => index - 1);
  const bad = layers.find((layer) => layer >= numHiddenLayers);
  if (bad !== undefined || layers.length === 0) {
    const known = `whole numbers from -1 (the decoder's input) to ${numHiddenLayers - 1}`;
    throw new InputError(`layers must be ${known}, at least one, got ${shown(bad)}.`);
  }
  const places = layers.map((layer) => (layer < 0 ? "inputs_embeds" : `layers.${layer}.hidden_states`));
  const context = readContext(model, checked, asked.maxNewTokens ?? 1);
  const wanted = typeof positions === "string" ? positionsOf(positions, context, "positions") : positions;
  const read = places.map((place) => ({ place, positions: wanted }));
  const answer = await model.answer(checked, { maxNewTokens: 1, ...asked, read });
  const texts = model.processor.hasTokenizer ? new TokenTexts(model.processor.tokenizer) : undefined;
  const rows: LensRow[] = [];
  for (const [index, { data, positions: rowPositions = [] }] of answer.reads.entries()) {
    for (let first = 0; first < rowPositions.length; first += BATCH_ROWS) {
      const batch = data.subarray(first * hiddenSize, (first + BATCH_ROWS) * hiddenSize);
      const logits = await model.logits(batch, { isNormalized });
      for (let row = 0; row < batch.length / hiddenSize; row++) {
        const top = mostProbable(logits.subarray(row * vocabSize, (row + 1) * vocabSize), topTokens);
        const tokens = top.map((token) => ({ ...token, text: texts?.of(token.tokenId) }));
        rows.push({ layer: at(layers, index), position: at(rowPositions, first + row), tokens });
      }
    }
  }
  return { answer, layers, positions: ranPositions(answer.reads), rows };
}

/** The k most probable tokens of logits [V] and their probabilities, in f64. */
export function mostProbable(logits: Float32Array, k: number): readonly Omit<LensToken, "text">[] {
  const largest = logits.reduce((most, logit) => Math.max(most, logit), Number.NEGATIVE_INFINITY);
  const sum = logits.reduce((total, logit) => total + Math.exp(logit - largest), 0);
  const top: { readonly tokenId: number; readonly logit: number }[] = [];
  for (const [tokenId, logit] of logits.entries()) {
    const last = top.at(-1);
    if (top.length >= k && last !== undefined && logit <= last.logit) continue;
    const place = top.findIndex((other) => other.logit < logit);
    top.splice(place < 0 ? top.length : place, 0, { tokenId, logit });
    if (top.length > k) top.pop();
  }
  return top.map(({ tokenId, logit }) => ({ tokenId, logit, probability: Math.exp(logit - largest) / sum }));
}

function ranPositions(reads: readonly PlaceValues[]): readonly number[] {
  return reads[0]?.positions ?? [];
}
