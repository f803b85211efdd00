// Places that no kernel writes, but that follow from some that kernels write: what attention and MLP add to the residual stream,
// the scales of the norms, each head's output, and the logits that hidden states give.
import { at } from "../errors.ts";
import { headLogits, headOutputs, type Unembedder } from "../generate/unembed.ts";
import type { TextConfig } from "../models/config.ts";
import { canonicalPlace } from "./place-names.ts";

/** Rows that were read at the places that a derived one needs: [positions, columns] each, of the same positions. */
export type NeededRows = readonly Float32Array<ArrayBuffer>[];

/** A derived place's values of `numRows` positions. */
export interface DerivedRows {
  /** Of one position. */
  readonly shape: readonly number[];
  readonly data: Float32Array<ArrayBuffer>;
}

interface Derivation {
  /** Canonical names of the places that it is computed from. */
  readonly needs: readonly string[];
  readonly compute: (rows: NeededRows, decoder: Unembedder) => DerivedRows | Promise<DerivedRows>;
}

/** The places whose rows have to be read for a place: itself, unless it is derived. @param place canonical */
export function neededPlaces(place: string, text: TextConfig): readonly string[] {
  return derivationOf(place, text)?.needs ?? [place];
}

/** Whether a place is derived. @param place canonical */
export function isDerived(place: string, text: TextConfig): boolean {
  return derivationOf(place, text) !== undefined;
}

/** Computes a derived place. @param rows of the places that {@link neededPlaces} names, in that order */
export async function derivedRows(place: string, rows: NeededRows, decoder: Unembedder): Promise<DerivedRows> {
  const derivation = derivationOf(place, decoder.text);
  if (derivation === undefined) throw new RangeError(`${place} is not derived.`);
  return derivation.compute(rows, decoder);
}

function derivationOf(place: string, text: TextConfig): Derivation | undefined {
  const match = /^layers\.(\d+)\.(.+)$/.exec(place);
  if (match === null) {
    const last = `layers.${text.numHiddenLayers - 1}.mlp.down_proj`;
    if (place === "inputs_embeds.logit_lens") return lens("inputs_embeds");
    if (place === "norm.scale") return scale(last);
    return place === "norm.normalized" ? normalized(last) : undefined;
  }
  const layer = Number(match[1]);
  const before = canonicalPlace(`blocks.${layer}.hook_resid_pre`);
  const middle = `layers.${layer}.self_attn.o_proj`;
  const after = `layers.${layer}.mlp.down_proj`;
  switch (match[2]) {
    case "input_layernorm.scale":
      return scale(before);
    case "input_layernorm.normalized":
      return normalized(before);
    case "head_outputs":
      return headsOf(layer);
    case "attention_output":
      return difference(middle, before);
    case "post_attention_layernorm.scale":
      return scale(middle);
    case "post_attention_layernorm.normalized":
      return normalized(middle);
    case "mlp_output":
      return difference(after, middle);
    case "logit_lens":
      return lens(after);
    default:
      return undefined;
  }
}

/** What was added to the residual stream between two places. */
function difference(later: string, earlier: string): Derivation {
  return {
    needs: [later, earlier],
    compute: ([sum = new Float32Array(), before = new Float32Array()], { text }) => {
      return { shape: [text.hiddenSize], data: sum.map((value, index) => value - at(before, index)) };
    },
  };
}

function scale(place: string): Derivation {
  return {
    needs: [place],
    compute: ([rows], { text }) => ({ shape: [1], data: Float32Array.from(normScales(rows, text)) }),
  };
}

function normalized(place: string): Derivation {
  return {
    needs: [place],
    compute: ([rows = new Float32Array()], { text }) => {
      const scales = normScales(rows, text);
      const data = rows.map((value, index) => value / at(scales, Math.floor(index / text.hiddenSize)));
      return { shape: [text.hiddenSize], data };
    },
  };
}

/** √(mean of squares + eps) of each row [n, D], which a norm of the decoder divides it by; f64. */
export function normScales(rows = new Float32Array(), { hiddenSize, rmsNormEps }: TextConfig): Float64Array {
  const scales = new Float64Array(rows.length / hiddenSize);
  for (const row of scales.keys()) {
    const squares = rows
      .subarray(row * hiddenSize, (row + 1) * hiddenSize)
      .reduce((sum, value) => sum + value * value, 0);
    scales[row] = Math.sqrt(squares / hiddenSize + rmsNormEps);
  }
  return scales;
}

function headsOf(layer: number): Derivation {
  return {
    needs: [`layers.${layer}.self_attn`],
    compute: async ([rows = new Float32Array()], decoder) => {
      const { numAttentionHeads, hiddenSize } = decoder.text;
      return { shape: [numAttentionHeads, hiddenSize], data: await headOutputs(decoder, layer, rows) };
    },
  };
}

function lens(place: string): Derivation {
  return {
    needs: [place],
    compute: async ([rows = new Float32Array()], decoder) => {
      return { shape: [decoder.text.vocabSize], data: await headLogits(decoder, rows) };
    },
  };
}
